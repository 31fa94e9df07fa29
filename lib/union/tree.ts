/**
 * Owns the state of one union: its layers, its upper and work directories, the nodes the kernel knows, the caches; and
 * the life of a node (made, named, renamed, forgotten). What is done with them is in the files by theme.
 * Invariant: for every node and each of its known names, `parent.dir.children.get(name)` is that node; what the kernel knows
 * without a node is in its directory's listing (listed.ts), and nowhere else.
 */
import { LRUCache } from 'lru-cache'
import { LowerFiles } from './lower-files.js'
import { E, FsError } from '../errno.js'
import { listsTrueNumbers } from '../layer/directory.js'
import type { Layer, LayerNode } from '../layer/layer.js'
import { AT, O, S } from '../sys/constants.js'
import { close, dup, openat } from '../sys/file.js'
import { statat, Stat } from '../sys/stat.js'
import type { Host, NodeId } from './filesystem.js'
import { Handles } from './handles.js'
import { IdMap } from './id-map.js'
import { InodeNumbers } from './inode-numbers.js'
import { readDirectoryMarks } from './marks.js'
import { DirKind, Directory, extraOf, type LowerRef, Node, NodeTable, Presence } from './node.js'
import type { UnionOptions } from './options.js'
import { Origins } from './origin.js'
import { OwedTimes } from './owed-times.js'
import { ReadAhead } from './read-ahead.js'
import { forgetListed, nodeOfListed } from './listed.js'
import { setProtection } from './protect.js'
import { Work } from './work.js'

/** Upper directories kept open. */
const OPEN_DIRECTORIES = 1024
/** Directory entries remembered for listings under way, all directories together. */
const LISTED_ENTRIES = 1 << 17

const NO_LOWERS: readonly LowerRef[] = []

export class Tree {
  readonly layers: readonly Layer[]
  /** O_PATH fd of the upper directory; -1: read-only. */
  readonly upperFd: number
  readonly work: Work | null
  readonly owed: OwedTimes | null
  readonly volatile: boolean
  readonly kernelCompatible: boolean
  /** The attributes by which overlayfs, standing on this tree, finds data elsewhere (as-lower.ts); '' where it does not. */
  readonly asLower: '' | 'trusted.overlay.' | 'user.overlay.'
  readonly xattrPrefix: 'trusted.overlay.' | 'user.overlay.'
  /** Metadata-only copies and redirects may be written. */
  readonly metacopy: boolean
  readonly redirects: boolean
  readonly inodes = new InodeNumbers()
  readonly origins: Origins
  readonly nodes = new NodeTable()
  readonly handles = new Handles()
  /** Nodes with more than one link, by shown inode number. */
  readonly linked = new Map<number, Node>()
  /** Nodes whose data is being copied block by block. */
  readonly partials = new Set<Node>()
  readonly root: Node
  /** Owners are shown otherwise than the layers have them. */
  readonly ids: IdMap | null
  /** Whether listings of the upper's directories have the inode numbers that stat has. */
  readonly upperNumbers: boolean
  host: Host = noHost
  /** The kernel can drop every name it has cached (INC_EPOCH). */
  namesCanBeDropped = false

  /** O_PATH fds of upper directories. */
  readonly directoryFds = new LRUCache<Node, number>({ max: OPEN_DIRECTORIES, dispose: fd => close(fd) })
  readonly listings = new LRUCache<Node, true>({
    max: 4096,
    maxSize: LISTED_ENTRIES,
    sizeCalculation: (_, node) => Math.min(LISTED_ENTRIES, 1 + (node.dir?.listing?.count ?? 0)),
    // What the kernel knows by a listing alone keeps it.
    dispose: (_, node) => {
      if (node.dir?.listing?.known === 0) node.dir.listing = null
    },
  })

  readonly lowerFiles = new LowerFiles()
  readonly readAhead = new ReadAhead(this)

  /** Scratch for a lookup's result. */
  readonly st = new Stat()
  /** Scratch for everything else. */
  readonly st2 = new Stat()
  /** Second result of `locate` (upper.ts). */
  name = ''
  /** Second result of `createFile` (create.ts): no whiteout was in the new name's place, so no lower has the name. */
  overNothing = false

  constructor(options: UnionOptions) {
    const { upper, work } = options
    const writable = upper !== undefined && options.readOnly !== true
    if (options.lowers.length === 0 && upper === undefined) throw new FsError(E.EINVAL, 'mount without layers')
    if (writable && work === undefined) throw new FsError(E.EINVAL, 'mount without a work directory', upper.path)
    this.layers = options.lowers
    this.ids = options.ids === undefined ? null : new IdMap(options.ids)
    this.volatile = options.volatile === true
    this.kernelCompatible = options.kernelCompatible === true
    this.asLower = options.asLower === undefined ? '' : `${options.asLower}.overlay.`
    this.upperFd = upper === undefined ? -1 : openUpper(upper.path)
    const st = this.st
    if (this.upperFd >= 0) {
      statat(this.upperFd, '', st, AT.EMPTY_PATH)
      this.inodes.slot(st.dev)
    }
    for (const layer of this.layers) this.inodes.slot(layer.fsid)
    this.work = null
    this.xattrPrefix = options.xattrs === 'user' ? 'user.overlay.' : 'trusted.overlay.'
    if (writable && work !== undefined) {
      this.work = new Work(work.path, options.xattrs, this.volatile)
      this.xattrPrefix = this.work.xattrPrefix
      if (this.work.dev !== st.dev) {
        this.work.close()
        throw new FsError(E.EXDEV, 'mount with a work directory on another filesystem', work.path)
      }
    }
    this.owed = this.work === null ? null : new OwedTimes(this.work, this.upperFd)
    const full = !(this.kernelCompatible && this.xattrPrefix === 'user.overlay.')
    if (full && this.xattrPrefix === 'user.overlay.') this.work?.noteRedirects()
    this.metacopy = full
    this.redirects = full
    this.origins = new Origins(this)
    this.upperNumbers = this.upperFd >= 0 && listsTrueNumbers(this.upperFd)
    this.root = this.#makeRoot()
  }

  /** A duplicate of an fd, to be closed with the node. -1 when there are none left. */
  duplicate(fd: number): number {
    return Math.max(-1, dup(fd))
  }

  #makeRoot(): Node {
    const lowers = this.layers.map((layer, i) => ({ layer: i, node: layer.root }))
    const st = this.st
    let directory: Directory
    let protect = 0
    if (this.upperFd >= 0) {
      const marks = readDirectoryMarks(this.upperFd, st)
      protect = marks.protect
      const pure = marks.opaque || lowers.length === 0
      directory = new Directory(pure ? DirKind.Pure : DirKind.Merged, pure ? NO_LOWERS : lowers)
      directory.impure = marks.impure
      directory.xattrWhiteouts = marks.xattrWhiteouts
    } else {
      directory = new Directory(DirKind.Lower, this.trimOpaque(lowers))
    }
    const top = directory.lowers[0]
    let ino: number
    if (top === undefined) {
      statat(this.upperFd, '', st, AT.EMPTY_PATH)
      ino = this.inodes.of(st.dev, st.ino)
    } else ino = this.lowerIno(top.layer, top.node)
    const upper = this.upperFd >= 0 ? Presence.Full : Presence.None
    const root = new Node(this.nodes.take(), 0, ino, S.IFDIR, upper, -1, 0, null, '')
    root.dir = directory
    root.lookups = 1
    setProtection(root, protect)
    this.nodes.put(root)
    return root
  }

  /** The part of a stack of directories that is seen: down to the first opaque one. */
  trimOpaque(stack: readonly LowerRef[]): readonly LowerRef[] {
    for (let i = 0; i < stack.length - 1; i++) {
      const ref = stack[i]
      if (ref !== undefined && this.layer(ref.layer).isOpaque(ref.node)) return stack.slice(0, i + 1)
    }
    return stack
  }

  layer(i: number): Layer {
    const layer = this.layers[i]
    if (layer === undefined) throw new FsError(E.EIO, `layer ${i}`)
    return layer
  }

  /** The number shown for an object of a layer whose stat is `st`. */
  inoIn(layer: number, st: Stat): number {
    const l = this.layer(layer)
    return this.inodes.of(st.dev === 0 ? l.fsid : st.dev, st.ino)
  }

  lowerIno(layer: number, node: LayerNode): number {
    return this.layer(layer).stat(node, this.st2) < 0 ? 0 : this.inoIn(layer, this.st2)
  }

  /** The node the kernel means. A file swapped by copy-up is its successor once nobody holds the old one open. */
  get(id: NodeId): Node | undefined {
    const node = this.nodes.get(id) ?? nodeOfListed(this, id)
    if (node === undefined || node.extra === null) return node
    const successor = node.extra.successor
    return successor !== null && node.extra.opens === 0 ? successor : node
  }

  /** Under which id the kernel knows already what `make` makes next (listed.ts). */
  awaited: { readonly id: NodeId; readonly generation: number } | null = null

  /** Makes a node under a name. */
  make(
    parent: Node | null,
    name: string,
    ino: number,
    type: number,
    upper: Presence,
    layer: number,
    lower: LayerNode,
  ): Node {
    const { awaited } = this
    this.awaited = null
    const id = awaited === null ? this.nodes.take() : awaited.id
    const generation = awaited === null ? this.nodes.generation : awaited.generation
    const node = new Node(id, generation, ino, type, upper, layer, lower, parent, name)
    this.nodes.put(node)
    if (parent !== null) setChild(parent, name, node)
    return node
  }

  /** Notes a further name of a hard-linked node. */
  addName(node: Node, parent: Node, name: string): void {
    setChild(parent, name, node)
    if (node.parent === null) {
      node.parent = parent
      node.name = name
      return
    }
    if (node.parent === parent && node.name === name) return
    const extra = extraOf(node)
    extra.names ??= []
    extra.names.push({ parent, name })
  }

  /** Takes a name from a node; another known one becomes its primary name. */
  removeName(node: Node, parent: Node, name: string): void {
    const children = parent.dir?.children
    if (children?.get(name) === node) children.delete(name)
    const names = node.extra?.names ?? null
    if (node.parent === parent && node.name === name) {
      const next = names?.pop()
      node.parent = next === undefined ? null : next.parent
      node.name = next === undefined ? '' : next.name
    } else if (names !== null) {
      const i = names.findIndex(n => n.parent === parent && n.name === name)
      if (i >= 0) names.splice(i, 1)
    }
    this.collectParent(parent)
  }

  /** Whether a hard-linked node has a known name besides (parent, name). */
  hasOtherName(node: Node, parent: Node, name: string): boolean {
    if (node.parent !== null && (node.parent !== parent || node.name !== name)) return true
    return (node.extra?.names?.length ?? 0) > 0
  }

  /** The kernel gives back `count` lookups. */
  forget(id: NodeId, count: number): void {
    const node = this.nodes.get(id)
    if (node === undefined) forgetListed(this, id, count)
    if (node === undefined || node === this.root) return
    node.lookups -= count
    this.collect(node)
  }

  /** Drops a node nobody needs, then the ancestors that only it held. */
  collect(node: Node): void {
    for (let n: Node | null = node; n !== null && n !== this.root;) {
      if (n.lookups > 0 || (n.dir !== null && n.dir.hasChildren)) return
      if (n.extra !== null && (n.extra.opens > 0 || n.extra.partial !== null || n.extra.predecessors > 0)) return
      const parent: Node | null = n.parent
      this.#drop(n)
      n = parent
    }
  }

  /** After a child went: a directory the kernel has forgotten was held by it alone. */
  collectParent(parent: Node): void {
    if (parent.lookups <= 0) this.collect(parent)
  }

  #drop(node: Node): void {
    if (this.nodes.get(node.id) !== node) return
    this.nodes.remove(node)
    const parent = node.parent
    if (parent?.dir?.children?.get(node.name) === node) parent.dir.children.delete(node.name)
    if (this.linked.get(node.ino) === node) this.linked.delete(node.ino)
    if (node.layer >= 0) this.layer(node.layer).release(node.lower)
    const { dir, extra } = node
    if (dir !== null) {
      for (const ref of dir.lowers) this.layer(ref.layer).release(ref.node)
      this.directoryFds.delete(node)
      this.listings.delete(node)
    }
    if (extra === null) return
    if (extra.fd >= 0) close(extra.fd)
    if (extra.face !== null) this.layer(extra.face.layer).release(extra.face.node)
    for (const { parent: p, name } of extra.names ?? []) {
      if (p.dir?.children?.get(name) === node) p.dir.children.delete(name)
      this.collectParent(p)
    }
    const successor = extra.successor
    if (successor !== null) {
      extra.successor = null
      if (successor.extra !== null) successor.extra.predecessors--
      this.collect(successor)
    }
  }

  destroy(): void {
    this.directoryFds.clear()
    this.handles.closeAll()
    this.lowerFiles.close()
    this.origins.close()
    if (this.work !== null) {
      this.owed?.clear()
      if (!this.volatile) this.work.sync()
      this.work.close()
    }
    if (this.upperFd >= 0) close(this.upperFd)
    for (const layer of this.layers) layer.close()
  }
}

function setChild(parent: Node, name: string, node: Node): void {
  const dir = parent.dir
  if (dir !== null) (dir.children ??= new Map()).set(name, node)
}

function openUpper(path: string): number {
  const fd = openat(AT.FDCWD, path, O.PATH | O.DIRECTORY)
  if (fd < 0) throw new FsError(fd, 'open', path)
  return fd
}

const noHost: Host = {
  passthrough: false,
  writeback: false,
  dontMask: true,
  defer: () => {
    throw new FsError(E.EIO, 'defer before init')
  },
  invalidateAttributes: () => undefined,
  invalidateNames: () => false,
  log: () => undefined,
}
