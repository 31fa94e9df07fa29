/**
 * Owns the account of an image: what each layer adds, changes and removes, and which stored bytes nobody can see.
 * How it counts
 * - A **unit** is one regular file's data stored once in one layer: hard links of a layer are one unit, whatever their
 *   number. `bytes` are data bytes, as a layer tar stores them (no headers, no padding, holes counted).
 * - A unit is **wasted** when none of its names is visible in the finished image. So each byte is counted once, in the
 *   layer that stores it, however often its path was rewritten later; the copy that is visible is never waste.
 * - Added, changed and removed count paths that are no directories, by comparing the tree below with the tree above:
 *   in both and stored again by the layer = changed.
 * - Whiteouts that hide nothing (dangling) are counted, and nothing else happens.
 * - The **store** keeps equal data once (objects by digest): `storeAccount` says what that saves, and what is wasted even so.
 * Layers are given **base first** here, as images list them.
 * Invariant: total bytes = visible bytes + wasted bytes, over all layers.
 */
import { FsError } from '../errno.js'
import { isWhiteout, type Layer, type LayerNode } from '../layer/layer.js'
import { S } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import { type Attributes, attributesOf, childPath } from './change.js'
import { isImplicit, outerLink } from './marks.js'

/** One file's data, stored once in one layer, under several names. */
export interface Unit {
  readonly layer: number
  readonly at: LayerNode
  /** How many names of it are visible now; 0 at the end: wasted. */
  visible: number
}

/**
 * One object of the finished (or so far finished) image. Directories have `children`. Kept small: an image has 150,000.
 * A regular file with data and without `unit` is a unit of its own.
 */
export interface TreeNode {
  readonly name: string
  readonly parent: TreeNode | undefined
  children: Map<string, TreeNode> | undefined
  /** The layer (base = 0) that gives its attributes. */
  layer: number
  mode: number
  size: number
  /** The layer's own node, for its digest. */
  at: LayerNode
  unit: Unit | undefined
}

/** Why bytes of a lower layer cannot be seen. */
export type HiddenBy = 'overwritten' | 'removed'

/** One wasted unit: `bytes` stored by `layer` under `path`, invisible since `by`. */
export interface Waste {
  readonly path: string
  readonly bytes: number
  readonly layer: number
  readonly by: number
  readonly how: HiddenBy
  /** The layer's own node. */
  readonly at: LayerNode
}

/** What happened to one path in one layer, for those who want the whole list. Directories too. */
export interface PathEvent {
  readonly layer: number
  /** A directory is `changed` when the layer gives it other attributes (mode, owner, time) than it had. */
  readonly kind: 'added' | 'changed' | 'removed'
  /** Removed, and not by a mark of its own name: inside a removed directory, or hidden by an opaque one. */
  readonly implied: boolean
  readonly path: string
  /** As it is after the layer; as it was, for `removed`. */
  readonly node: TreeNode
  /** The layer that had it before, for `changed` and `removed`. */
  readonly from: number
  /** Attributes after the layer; undefined for `removed`. */
  readonly attributes: Attributes | undefined
  /** The layer's own node, for `added` and `changed`; valid during the call. -1 for `removed`. */
  readonly at: LayerNode
}

export interface LayerAccount {
  /** Data bytes the layer stores, each unit once. */
  bytes: number
  /** Of these, bytes that the finished image still shows. */
  visibleBytes: number
  added: number
  changed: number
  removed: number
  /** Bytes of layers below that this layer made invisible. */
  hiddenBytes: number
  whiteouts: number
  danglingWhiteouts: number
  opaques: number
  /** Non-directories the layer itself stores (hard-linked names each). */
  files: number
}

export interface Analysis {
  readonly layers: readonly LayerAccount[]
  readonly root: TreeNode | undefined
  /** Every wasted unit, largest first, then by path. */
  readonly waste: readonly Waste[]
  readonly totalBytes: number
  readonly wastedBytes: number
  /** Bytes of all layers but the first. */
  readonly userBytes: number
  /** Visible bytes / total bytes; 1 for an image of no bytes. */
  readonly efficiency: number
}

/** Analyses layers, **base first**. `each` gets every path of every layer. Throws FsError when a layer cannot be read. */
export function analyse(layers: readonly Layer[], each?: (event: PathEvent) => void): Analysis {
  return new Accountant(layers, each).run()
}

/** Absolute path (byte string) of a node. */
export function pathOf(node: TreeNode): string {
  const names: string[] = []
  for (let n: TreeNode | undefined = node; n.parent !== undefined; n = n.parent) names.push(n.name)
  return `/${names.reverse().join('/')}`
}

interface Task {
  readonly node: LayerNode
  readonly dir: TreeNode
  readonly path: string
  /** Nothing below this layer shows through here. */
  readonly opaque: boolean
}

const st = new Stat()

class Accountant {
  readonly #layers: readonly Layer[]
  readonly #each: ((event: PathEvent) => void) | undefined
  readonly #accounts: LayerAccount[] = []
  /** Attributes of directories, to tell whether a layer changed them. */
  readonly #directories = new Map<TreeNode, Attributes>()
  readonly #waste: Waste[] = []
  #root: TreeNode | undefined
  #index = 0
  #links = new Map<number, Unit>()

  constructor(layers: readonly Layer[], each: ((event: PathEvent) => void) | undefined) {
    this.#layers = layers
    this.#each = each
  }

  run(): Analysis {
    for (const [index, layer] of this.#layers.entries()) this.#layer(index, layer)
    for (const account of this.#accounts) account.visibleBytes = account.bytes
    for (const { layer, bytes } of this.#waste) this.#account(layer).visibleBytes -= bytes
    const totalBytes = sum(this.#accounts, a => a.bytes)
    const wastedBytes = sum(this.#waste, w => w.bytes)
    const compare = (a: Waste, b: Waste): number =>
      b.bytes - a.bytes || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)
    return {
      layers: this.#accounts,
      root: this.#root,
      waste: this.#waste.sort(compare),
      totalBytes,
      wastedBytes,
      userBytes: sum(this.#accounts.slice(1), a => a.bytes),
      efficiency: totalBytes === 0 ? 1 : (totalBytes - wastedBytes) / totalBytes,
    }
  }

  #account(layer: number): LayerAccount {
    return this.#accounts[layer] as LayerAccount
  }

  #layer(index: number, layer: Layer): void {
    this.#index = index
    this.#links = new Map()
    this.#accounts.push({
      bytes: 0,
      visibleBytes: 0,
      added: 0,
      changed: 0,
      removed: 0,
      hiddenBytes: 0,
      whiteouts: 0,
      danglingWhiteouts: 0,
      opaques: 0,
      files: 0,
    })
    const r = layer.stat(layer.root, st)
    if (r < 0) throw new FsError(r, 'stat', '/')
    if (this.#root === undefined) {
      this.#root = this.#node('', undefined, layer.root)
      this.#root.children = new Map()
      this.#directories.set(this.#root, attributesOf(st, layer.fsid))
      if (this.#each !== undefined) this.#tell('added', '/', this.#root, index, layer.root)
    } else this.#restate(layer, layer.root, this.#root, '/')
    const tasks: Task[] = [{ node: layer.root, dir: this.#root, path: '/', opaque: layer.isOpaque(layer.root) }]
    for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) {
      this.#directory(layer, task, tasks)
      if (task.node !== layer.root) layer.release(task.node)
    }
  }

  #directory(layer: Layer, { node, dir, path, opaque }: Task, tasks: Task[]): void {
    const names: string[] = []
    const r = layer.list(node, name => names.push(name))
    if (r < 0) throw new FsError(r, 'readdir', path)
    const children = (dir.children ??= new Map<string, TreeNode>())
    let below: Map<string, TreeNode> = children
    if (opaque && children.size > 0) {
      below = new Map(children)
      children.clear()
    }
    for (const name of names) {
      const child = layer.lookup(node, name, st)
      if (child < 0) throw new FsError(child, 'lookup', childPath(path, name))
      const old = below.get(name)
      if (below !== children) below.delete(name)
      let task: Task | undefined
      if (isWhiteout(st)) {
        if (below !== children) {
          if (old !== undefined) below.set(name, old)
        } else this.#whiteout(dir, old, name)
      } else task = this.#entry(layer, child, dir, old, name, path, opaque)
      if (task === undefined) layer.release(child)
      else tasks.push(task)
    }
    if (below !== children) for (const old of below.values()) this.#hide(old, 'removed', true)
  }

  #whiteout(dir: TreeNode, old: TreeNode | undefined, name: string): void {
    const account = this.#account(this.#index)
    account.whiteouts++
    if (old === undefined) account.danglingWhiteouts++
    else {
      dir.children?.delete(name)
      this.#hide(old, 'removed', false)
    }
  }

  /** A name that the layer stores, its Stat in `st`. Returns what is to be done below it. */
  #entry(
    layer: Layer,
    node: LayerNode,
    dir: TreeNode,
    old: TreeNode | undefined,
    name: string,
    path: string,
    opaque: boolean,
  ): Task | undefined {
    const account = this.#account(this.#index)
    if ((st.mode & S.IFMT) === S.IFDIR) {
      let kept = old
      if (old?.children === undefined) {
        kept = this.#node(name, dir, node)
        kept.children = new Map()
        this.#directories.set(kept, attributesOf(st, layer.fsid))
        if (old !== undefined) this.#hide(old, 'overwritten', true)
        if (this.#each !== undefined) this.#tell('added', childPath(path, name), kept, this.#index, node)
      } else this.#restate(layer, node, old, path)
      const child = kept as TreeNode
      dir.children?.set(name, child)
      const isOpaque = layer.isOpaque(node)
      if (isOpaque) account.opaques++
      return { node, dir: child, path: childPath(path, name), opaque: opaque || isOpaque }
    }
    const fresh = this.#node(name, dir, node)
    if ((st.mode & S.IFMT) === S.IFREG) this.#store(layer, node, fresh)
    account.files++
    dir.children?.set(name, fresh)
    const changed = old !== undefined && old.children === undefined
    if (changed) account.changed++
    else account.added++
    if (changed) this.#lose(old, 'overwritten')
    else if (old !== undefined) this.#hide(old, 'overwritten', true)
    if (this.#each !== undefined) {
      this.#tell(changed ? 'changed' : 'added', childPath(path, name), fresh, changed ? old.layer : this.#index, node)
    }
    return undefined
  }

  /** Counts a regular file's data, unless another name in this layer has counted it, or a layer below stores it. */
  #store(layer: Layer, node: LayerNode, fresh: TreeNode): void {
    const target = outerLink(layer, node, st)
    if (target !== undefined) {
      let at = this.#root
      for (const name of target.split('/')) if (name !== '') at = at?.children?.get(name)
      if (at === undefined || at.children !== undefined) return
      fresh.mode = at.mode
      fresh.size = at.size
      if (hasData(at)) {
        fresh.unit = at.unit ??= { layer: at.layer, at: at.at, visible: 1 }
        fresh.unit.visible++
      }
      return
    }
    if (st.size === 0) return
    if (st.nlink > 1) {
      const unit = this.#links.get(st.ino)
      if (unit !== undefined) {
        unit.visible++
        fresh.unit = unit
        return
      }
      fresh.unit = { layer: this.#index, at: node, visible: 1 }
      this.#links.set(st.ino, fresh.unit)
    }
    this.#account(this.#index).bytes += st.size
  }

  #node(name: string, parent: TreeNode | undefined, at: LayerNode): TreeNode {
    return {
      name,
      parent,
      children: undefined,
      layer: this.#index,
      mode: st.mode,
      size: st.size,
      at,
      unit: undefined,
    }
  }

  #tell(kind: PathEvent['kind'], path: string, node: TreeNode, from: number, at: LayerNode, implied = false): void {
    const layer = this.#index
    const attributes = kind === 'removed' ? undefined : attributesOf(st, this.#layers[layer]?.fsid ?? 0)
    this.#each?.({ layer, kind, implied, path, node, from, at, attributes })
  }

  /** A directory that was there already takes the layer's attributes, unless the layer only passes through it. */
  #restate(layer: Layer, node: LayerNode, dir: TreeNode, parent: string): void {
    const old = this.#directories.get(dir) as Attributes
    const { mode, uid, gid, mtime, mtimeNs } = old
    if (mode === st.mode && uid === st.uid && gid === st.gid && mtime === st.mtime && mtimeNs === st.mtimeNs) return
    if (isImplicit(layer, node)) return
    const from = dir.layer
    dir.mode = st.mode
    dir.layer = this.#index
    dir.at = node
    this.#directories.set(dir, attributesOf(st, layer.fsid))
    if (this.#each !== undefined) this.#tell('changed', childPath(parent, dir.name), dir, from, node)
  }

  /** Everything at and below `top` is gone. `implied`: no mark of the layer names `top` itself. */
  #hide(top: TreeNode, how: HiddenBy, implied: boolean): void {
    const account = this.#account(this.#index)
    const stack = [top]
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (this.#each !== undefined) this.#tell('removed', pathOf(node), node, node.layer, -1, implied || node !== top)
      if (node.children !== undefined) for (const child of node.children.values()) stack.push(child)
      else {
        account.removed++
        this.#lose(node, how)
      }
    }
  }

  #lose(node: TreeNode, how: HiddenBy): void {
    if (!hasData(node)) return
    const { unit, size: bytes } = node
    if (unit !== undefined && --unit.visible > 0) return
    this.#account(this.#index).hiddenBytes += bytes
    const { layer, at } = unit ?? node
    this.#waste.push({ path: pathOf(node), bytes, layer, by: this.#index, how, at })
  }
}

/** A regular file that takes room. */
function hasData(node: TreeNode): boolean {
  return node.size > 0 && (node.mode & S.IFMT) === S.IFREG
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}

/** Visible files with data: each unit with all paths that show it. */
function visibleUnits(analysis: Analysis): Map<Unit | TreeNode, { path: string; node: TreeNode }[]> {
  const units = new Map<Unit | TreeNode, { path: string; node: TreeNode }[]>()
  const stack = analysis.root === undefined ? [] : [{ node: analysis.root, path: '/' }]
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    for (const node of top.node.children?.values() ?? []) {
      const path = childPath(top.path, node.name)
      if (node.children !== undefined) stack.push({ node, path })
      else if (hasData(node)) {
        const key = node.unit ?? node
        const names = node.unit === undefined ? undefined : units.get(key)
        if (names === undefined) units.set(key, [{ path, node }])
        else names.push({ path, node })
      }
    }
  }
  return units
}

/**
 * What the image takes in a store that keeps equal data once, and how much of that nothing shows. `layers` are those of
 * the analysis. Undefined when one of them knows no digests.
 */
export function storeAccount(
  analysis: Analysis,
  layers: readonly Layer[],
): { readonly bytes: number; readonly wastedBytes: number } | undefined {
  const seen = new Set<string>()
  let bytes = 0
  let wastedBytes = 0
  for (const [{ layer, at }, names] of visibleUnits(analysis)) {
    const digest = layers[layer]?.digest?.(at)
    if (digest === undefined) return undefined
    if (!seen.has(digest)) bytes += names[0]?.node.size ?? 0
    seen.add(digest)
  }
  for (const { layer, at, bytes: wasted } of analysis.waste) {
    const digest = layers[layer]?.digest?.(at)
    if (digest === undefined) return undefined
    if (seen.has(digest)) continue
    seen.add(digest)
    wastedBytes += wasted
  }
  return { bytes: bytes + wastedBytes, wastedBytes }
}

/** Files of the finished image with equal data stored more than once. */
export interface Duplicate {
  readonly digest: string
  readonly bytes: number
  /** Sorted; hard links of one unit count as one copy and give one path each. */
  readonly paths: readonly string[]
  readonly copies: number
}

/**
 * Visible files with equal data in more than one unit, largest saving first. `layers` are those of the analysis; where
 * one knows no digests, `digestOf` is asked. Only files whose size occurs twice are looked at.
 */
export function duplicates(
  analysis: Analysis,
  layers: readonly Layer[],
  digestOf?: (path: string, node: TreeNode) => string,
): Duplicate[] {
  const bySize = new Map<number, [Unit | TreeNode, { path: string; node: TreeNode }[]][]>()
  for (const unit of visibleUnits(analysis)) {
    const size = unit[1][0]?.node.size ?? 0
    const same = bySize.get(size)
    if (same === undefined) bySize.set(size, [unit])
    else same.push(unit)
  }
  const found: Duplicate[] = []
  for (const [bytes, units] of bySize) {
    if (units.length < 2) continue
    const byDigest = new Map<string, string[][]>()
    for (const [{ layer, at }, names] of units) {
      const [first] = names
      const digest = layers[layer]?.digest?.(at) ?? (first && digestOf?.(first.path, first.node))
      if (digest === undefined) continue
      const paths = names.map(n => n.path)
      const group = byDigest.get(digest)
      if (group === undefined) byDigest.set(digest, [paths])
      else group.push(paths)
    }
    for (const [digest, groups] of byDigest) {
      if (groups.length > 1) found.push({ digest, bytes, paths: groups.flat().sort(), copies: groups.length })
    }
  }
  return found.sort((a, b) => b.bytes * (b.copies - 1) - a.bytes * (a.copies - 1) || (a.digest < b.digest ? -1 : 1))
}
