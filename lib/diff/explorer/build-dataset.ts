/**
 * Owns layers → dataset: the explorer's data of one image (`imageDataset`) or of two trees compared (`comparisonDataset`).
 * Formats: layers of an image come base first; the trees of a comparison topmost first, as compare.ts takes them.
 * Invariant: what the page shows is text that `show` made safe; the bytes of names stay here, in `paths`.
 */
import { S } from '../../sys/constants.js'
import { type Layer } from '../../layer/layer.js'
import { type Analysis, analyse } from '../analysis.js'
import { type Aspect, type Attributes, childPath, isSymlink, parentPath } from '../change.js'
import { aspectsBetween, compareTrees } from '../compare.js'
import { readContent } from '../content.js'
import { MergedTree } from '../merged.js'
import { ASPECT, type Dataset, type DatasetInfo, type DatasetLayer, EVENT } from './dataset.js'

/** A dataset, and the way back from its nodes to the data of the layers. */
export interface Exploration {
  readonly dataset: Dataset
  /** Absolute byte string of each node. */
  readonly paths: readonly string[]
  /** What an event shows: the tree that holds the data. The path in it is the node's. */
  treeOf(event: number): MergedTree
}

export interface ImageOfLayers {
  readonly title: string
  /** Base first. */
  readonly layers: readonly Layer[]
  /** What the image says of each layer, alike in order. */
  readonly about: readonly { readonly instruction: string; readonly id: string }[]
}

const BITS: Readonly<Record<Aspect, number>> = {
  type: ASPECT.TYPE,
  content: ASPECT.CONTENT,
  mode: ASPECT.MODE,
  owner: ASPECT.OWNER,
  time: ASPECT.TIME,
  xattr: ASPECT.XATTR,
}
const bits = (aspects: readonly Aspect[]): number => aspects.reduce((sum, a) => sum | BITS[a], 0)

interface Row {
  layer: number
  kind: number
  aspects: number
  mode: number
  uid: number
  gid: number
  size: number
  mtime: number
  target: string
  hiddenSince: number
}

interface Node {
  readonly name: string
  readonly path: string
  readonly children: Map<string, Node>
  readonly rows: Row[]
  isDirectory: boolean
}

type Look = Pick<Attributes, 'mode' | 'uid' | 'gid' | 'size' | 'mtime'>

class Builder {
  readonly #root: Node = { name: '', path: '/', children: new Map(), rows: [], isDirectory: true }
  readonly #nodes = new Map<string, Node>([['/', this.#root]])
  readonly #show: (bytes: string) => string

  constructor(show: (bytes: string) => string) {
    this.#show = show
  }

  node(path: string): Node {
    const known = this.#nodes.get(path)
    if (known !== undefined) return known
    const up = this.node(parentPath(path))
    const name = path.slice(path.lastIndexOf('/') + 1)
    const node: Node = { name, path: childPath(up.path, name), children: new Map(), rows: [], isDirectory: false }
    up.children.set(name, node)
    this.#nodes.set(path, node)
    return node
  }

  put(path: string, layer: number, kind: number, aspects: number, a: Look, target = ''): void {
    const node = this.node(path)
    if ((a.mode & S.IFMT) === S.IFDIR) node.isDirectory = true
    const row: Row = {
      layer,
      kind,
      aspects,
      mode: a.mode,
      uid: a.uid,
      gid: a.gid,
      size: a.size,
      mtime: a.mtime,
      target,
      hiddenSince: 0,
    }
    // A layer may take a path away and give it again; what counts is the end.
    if (node.rows.at(-1)?.layer === layer) {
      const last = node.rows.pop()
      if (last?.kind === EVENT.REMOVED && kind === EVENT.ADDED) row.kind = EVENT.CHANGED
      if (last?.kind === EVENT.REMOVED && kind === EVENT.ADDED) row.aspects = ASPECT.TYPE
    }
    node.rows.push(row)
  }

  /** The path is gone: the attributes stay those it had. */
  remove(path: string, layer: number): void {
    const last = this.node(path).rows.at(-1)
    if (last !== undefined) this.put(path, layer, EVENT.REMOVED, 0, last)
  }

  /** Marks everything that is there below `path` (not itself) as removed by `layer`. */
  removeBelow(path: string, layer: number): void {
    const stack = [...this.node(path).children.values()]
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      const last = node.rows.at(-1)
      if (last !== undefined && last.kind !== EVENT.REMOVED) this.put(node.path, layer, EVENT.REMOVED, 0, last)
      stack.push(...node.children.values())
    }
  }

  hide(path: string, layer: number, by: number): void {
    const row = this.#nodes.get(path)?.rows.find(r => r.layer === layer)
    if (row !== undefined) row.hiddenSince = by + 1
  }

  finish(info: DatasetInfo): { dataset: Dataset; paths: string[] } {
    const order: Node[] = [this.#root]
    const n = this.#nodes.size
    const parent = new Uint32Array(n)
    const first = new Uint32Array(n)
    const count = new Uint32Array(n)
    const eventStart = new Uint32Array(n + 1)
    let events = 0
    for (let i = 0; i < order.length; i++) {
      const node = order[i] as Node
      eventStart[i] = events
      events += node.rows.length
      if (node.children.size === 0) continue
      const children = [...node.children.values()].sort(
        (a, b) => Number(b.isDirectory) - Number(a.isDirectory) || (a.name < b.name ? -1 : 1),
      )
      first[i] = order.length
      count[i] = children.length
      for (const child of children) {
        parent[order.length] = i
        order.push(child)
      }
    }
    eventStart[n] = events
    const targets: string[] = []
    const dataset: Dataset = {
      info,
      names: order.map(o => this.#show(o.name)),
      parent,
      first,
      count,
      eventStart,
      eventLayer: new Uint16Array(events),
      eventKind: new Uint8Array(events),
      eventAspects: new Uint8Array(events),
      mode: new Uint16Array(events),
      uid: new Uint32Array(events),
      gid: new Uint32Array(events),
      size: new Float64Array(events),
      mtime: new Float64Array(events),
      target: new Uint32Array(events),
      targets,
      hiddenSince: new Uint16Array(events),
    }
    let e = 0
    for (const node of order) {
      for (const row of node.rows) {
        dataset.eventLayer[e] = row.layer
        dataset.eventKind[e] = row.kind
        dataset.eventAspects[e] = row.aspects
        dataset.mode[e] = row.mode
        dataset.uid[e] = row.uid
        dataset.gid[e] = row.gid
        dataset.size[e] = row.size
        dataset.mtime[e] = row.mtime
        dataset.hiddenSince[e] = row.hiddenSince
        if (row.target !== '') dataset.target[e] = targets.push(this.#show(row.target))
        e++
      }
    }
    return { dataset, paths: order.map(o => o.path) }
  }
}

/** The data of one image: each layer's doings. `show` makes a byte string safe to show. Throws FsError. */
export function imageDataset(
  image: ImageOfLayers,
  show: (bytes: string) => string,
): Exploration & { readonly analysis: Analysis } {
  const { layers } = image
  const builder = new Builder(show)
  const single = layers.map(layer => new MergedTree([layer]))
  const analysis = analyse(layers, event => {
    const { layer, kind, path, node, attributes } = event
    if (attributes === undefined) {
      builder.remove(path, layer)
      return
    }
    const target = (node.mode & S.IFMT) === S.IFLNK ? layers[layer]?.readlink(event.at) : ''
    const text = typeof target === 'string' ? target : ''
    if (kind === 'added') builder.put(path, layer, EVENT.ADDED, 0, attributes, text)
    else builder.put(path, layer, EVENT.CHANGED, aspectsIn(single, path, event.from, layer), attributes, text)
  })
  for (const w of analysis.waste) builder.hide(w.path, w.layer, w.by)
  const about = analysis.layers.map((account, i): DatasetLayer => {
    const { bytes, visibleBytes, hiddenBytes, added, changed, removed } = account
    const said = image.about[i] ?? { instruction: '', id: '' }
    return {
      instruction: show(said.instruction),
      id: said.id,
      bytes,
      visibleBytes,
      hiddenBytes,
      added,
      changed,
      removed,
    }
  })
  const { dataset, paths } = builder.finish({
    title: show(image.title),
    layers: about,
    efficiency: analysis.efficiency,
    totalBytes: analysis.totalBytes,
    wastedBytes: analysis.wastedBytes,
  })
  return { dataset, paths, analysis, treeOf: event => stackUpTo(layers, dataset.eventLayer[event] as number) }
}

/** Layers up to and including `top`, topmost first: hard links to lower layers are found, too. */
function stackUpTo(layers: readonly Layer[], top: number): MergedTree {
  return new MergedTree(layers.slice(0, top + 1).reverse())
}

function aspectsIn(trees: readonly MergedTree[], path: string, from: number, to: number): number {
  const a = trees[from] as MergedTree
  const b = trees[to] as MergedTree
  const ea = a.resolve(path)
  try {
    const eb = b.resolve(path)
    if (ea === undefined || eb === undefined) return ASPECT.CONTENT
    try {
      return bits(aspectsBetween(a, ea, b, eb))
    } finally {
      b.release(eb)
    }
  } finally {
    if (ea !== undefined) a.release(ea)
  }
}

/** Two trees as two layers: all of `before`, then what makes it `after`; both topmost first. Throws FsError. */
export function comparisonDataset(
  titles: readonly [string, string],
  before: MergedTree,
  after: MergedTree,
  show: (bytes: string) => string,
): Exploration {
  const builder = new Builder(show)
  const root = before.root()
  let bytes = 0
  if (root !== undefined) {
    before.walk(root, e => {
      const link = isSymlink(e.attributes) ? before.readlink(e) : ''
      if (isFile(e.attributes)) bytes += e.attributes.size
      builder.put(e.path, 0, EVENT.ADDED, 0, e.attributes, link)
    })
  }
  const totals = { added: 0, changed: 0, removed: 0, bytes: 0 }
  for (const c of compareTrees(before, after)) {
    if (c.kind === 'removed') {
      builder.removeBelow(c.path, 1)
      builder.put(c.path, 1, EVENT.REMOVED, 0, c.before)
      totals.removed++
      continue
    }
    const { after: a } = c
    if ('aspects' in c && c.aspects.includes('type')) builder.removeBelow(c.path, 1)
    const link = isSymlink(a) ? targetOf(after, c.path) : ''
    if (c.kind === 'added') builder.put(c.path, 1, EVENT.ADDED, 0, a, link)
    else builder.put(c.path, 1, EVENT.CHANGED, bits(c.aspects), a, link)
    if (c.kind === 'added') totals.added++
    else totals.changed++
    if (isFile(a)) totals.bytes += a.size
  }
  const layer = { id: '', hiddenBytes: 0 }
  const { dataset, paths } = builder.finish({
    title: `${show(titles[0])} → ${show(titles[1])}`,
    layers: [
      { ...layer, instruction: show(titles[0]), bytes, visibleBytes: bytes, added: 0, changed: 0, removed: 0 },
      { ...layer, instruction: show(titles[1]), ...totals, visibleBytes: totals.bytes },
    ],
    efficiency: 1,
    totalBytes: bytes,
    wastedBytes: 0,
    comparison: true,
  })
  return { dataset, paths, treeOf: event => (dataset.eventLayer[event] === 0 ? before : after) }
}

const isFile = (a: Look): boolean => (a.mode & S.IFMT) === S.IFREG

function targetOf(tree: MergedTree, path: string): string {
  const entry = tree.resolve(path)
  if (entry === undefined) return ''
  try {
    return tree.readlink(entry)
  } finally {
    tree.release(entry)
  }
}

/** Data of a regular file as an event left it, at most `limit` bytes; undefined for what is no file. Throws FsError. */
export function readEvent(exploration: Exploration, node: number, event: number, limit?: number): Buffer | undefined {
  const { dataset, paths } = exploration
  if (dataset.eventKind[event] === EVENT.REMOVED || ((dataset.mode[event] as number) & S.IFMT) !== S.IFREG)
    return undefined
  const tree = exploration.treeOf(event)
  const entry = tree.resolve(paths[node] as string)
  if (entry === undefined) return undefined
  try {
    return readContent(tree, entry, limit)
  } finally {
    tree.release(entry)
  }
}

const TEXT_LIMIT = 64 * 1024

/** The text of bytes that are UTF-8 without NUL; undefined for anything else. */
export function asText(data: Buffer): string | undefined {
  if (data.includes(0)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data)
  } catch {
    return undefined
  }
}

/**
 * Texts for a page that has no server: first both sides of files whose content a layer changed, then other small files
 * of the layers above the base, until `budget` bytes are spent.
 */
export function collectTexts(exploration: Exploration, budget: number): Record<number, string> {
  const { dataset } = exploration
  const wanted: { node: number; event: number; rank: number }[] = []
  for (let node = 0; node < dataset.names.length; node++) {
    const start = dataset.eventStart[node] as number
    const end = dataset.eventStart[node + 1] as number
    let changed = false
    for (let e = start; e < end; e++) changed ||= ((dataset.eventAspects[e] as number) & ASPECT.CONTENT) !== 0
    for (let e = start; e < end; e++) {
      const size = dataset.size[e] as number
      if (!isFile({ mode: dataset.mode[e] as number } as Look) || size > TEXT_LIMIT) continue
      if (changed) wanted.push({ node, event: e, rank: 0 })
      else if ((dataset.eventLayer[e] as number) > 0) wanted.push({ node, event: e, rank: 1 })
    }
  }
  wanted.sort((a, b) => a.rank - b.rank || (dataset.size[a.event] as number) - (dataset.size[b.event] as number))
  const texts: Record<number, string> = {}
  let spent = 0
  for (const { node, event } of wanted) {
    const size = dataset.size[event] as number
    if (spent + size > budget) break
    const data = readEvent(exploration, node, event)
    const text = data && asText(data)
    if (text === undefined) continue
    texts[event] = text
    spent += size
  }
  return texts
}
