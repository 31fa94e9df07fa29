/**
 * Owns what the union remembers of one inode: `Node`, for directories also `Directory`, for what few nodes have `Extra`;
 * and the table from nodeids to nodes.
 *
 * A node's place in the layers:
 * - `upper` says what the upper directory holds of it: nothing, its metadata (overlayfs's metacopy: the data is still the
 *   lower's), or all of it.
 * - `layer` and `lower` name its object in a lower layer: the data of a file that is not (fully) copied up, and the
 *   origin of its inode number. Directories have a whole stack of them instead (`Directory.lowers`).
 * - `parent` and `name` are its primary name. Further known names of a hard-linked file are in `extra.names`. A node
 *   without parent (but the root) has been removed and lives on as an open file or a current directory.
 *
 * Memory: about 200 bytes a node, and the kernel's forgets bring it back. A lower file that the kernel knows from a listing
 * and nobody has asked for has none: an entry of its directory's listing, about 60 bytes, stands for it (listed.ts).
 * Invariant: a node is in the table while the kernel holds a lookup of it, or a child of it is in the table.
 */
import type { LayerNode } from '../layer/layer.js'
import type { Job, NodeId } from './filesystem.js'
import type { Listing } from './listing.js'
import type { Partial } from './partial.js'

/** How much of an inode the upper holds. Ordered: more is greater. */
export const Presence = { None: 0, Meta: 1, Full: 2 } as const
export type Presence = (typeof Presence)[keyof typeof Presence]

/** One object of one lower layer: `layer` indexes Tree.layers. */
export interface LowerRef {
  readonly layer: number
  readonly node: LayerNode
}

/** Where a directory's entries come from: lowers alone, the upper over lowers, or the upper alone (new, or opaque). */
export const DirKind = { Lower: 0, Merged: 1, Pure: 2 } as const
export type DirKind = (typeof DirKind)[keyof typeof DirKind]

export class Directory {
  kind: DirKind
  /** Topmost first; empty exactly when `kind` is Pure. */
  lowers: readonly LowerRef[]
  children: Map<string, Node> | null = null
  /** The path below the lowers' roots (`/a/b`) or the sibling name that the lowers know it by; null: its own name. */
  redirect: string | null = null
  listing: Listing | null = null
  /** How many more lookups may cost system calls in vain before all names are read (list.ts); -1: none has yet. */
  patience = -1
  /** Number of subdirectories, -1 while unknown. Kept only where no layer can tell (merged directories). */
  subdirs = -1
  /** The upper directory holds entries whose inode numbers come from elsewhere (overlay.impure). */
  impure = false
  /** The upper directory has xattr whiteouts inside (overlay.opaque = x). */
  xattrWhiteouts = false
  /** Whether the upper directory has a default ACL: -1 unknown, 0, 1. */
  defaultAcl = -1

  constructor(kind: DirKind, lowers: readonly LowerRef[]) {
    this.kind = kind
    this.lowers = lowers
  }

  /** The kernel, or a node, knows something in it. */
  get hasChildren(): boolean {
    return (this.children !== null && this.children.size > 0) || (this.listing !== null && this.listing.known > 0)
  }
}

/** A further name of a hard-linked file. */
export interface Name {
  readonly parent: Node
  readonly name: string
}

/** What only some nodes have: open files, removed ones, hard-linked ones, ones being copied. */
export class Extra {
  /** Open handles on this node. */
  opens = 0
  /** Of these, passthrough opens whose backing file is the lower's. */
  lowerPassthrough = 0
  /** Of these, passthrough opens that may write: the kernel does not tell of their writes through a mapping. */
  writers = 0
  /** Of these, served through the page cache. */
  cached = 0
  /** Of these, served by us without the page cache. */
  direct = 0
  /** O_PATH fd of the upper inode once it has no name left, -1 otherwise. */
  fd = -1
  /** Its name in the hard-link index, '' when it is not in it. */
  index = ''
  /** Added to the upper's nlink (index: lower names not copied up). */
  nlinkOffset = 0
  names: Name[] | null = null
  copy: Copying | null = null
  /** A large file that is copied block by block while it is used. */
  partial: Partial | null = null
  /** The metadata copy says by an absolute path where its data is. */
  pinned = false
  /** The object of a lower layer that gives the attributes, where that is a metacopy and the data lies further down. */
  face: LowerRef | null = null
  /** After an ESTALE swap: the node that took over the names. */
  successor: Node | null = null
  /** Nodes whose successor this is: their open files ask it for attributes, so it must keep its place. */
  predecessors = 0
  sync: Syncing | null = null
  /** Append-only and immutable (protect.ts). */
  protect = 0

  /** Nothing here is worth keeping. */
  get idle(): boolean {
    return (
      this.opens === 0 &&
      this.fd < 0 &&
      this.index === '' &&
      (this.names === null || this.names.length === 0) &&
      this.copy === null &&
      this.partial === null &&
      this.face === null &&
      this.successor === null &&
      this.predecessors === 0 &&
      this.sync === null &&
      this.protect === 0
    )
  }
}

/** An fsync under way: `waiters` calls were made before it began and take its result. */
export interface Syncing {
  readonly job: Job
  waiters: number
  /** 1 while it runs, else the job's result. */
  result: number
  /** When it ended, in ms of lib/clock.ts. */
  ended: number
}

/** A copy-up that another thread is doing. */
export interface Copying {
  readonly job: Job
  /** In the work directory; '' when the copy fills a metadata copy in place. */
  readonly name: string
  readonly from: number
  readonly to: number
  /** What filling in place must give back. */
  before: Before | null
  /** 1 while it runs, else the job's result. */
  result: number
}

/** What writing data into a file changes on the side. */
export interface Before {
  readonly size: number
  atime: number
  atimeNs: number
  mtime: number
  mtimeNs: number
  readonly capability: Buffer | null
}

export class Node {
  id: NodeId
  generation: number
  lookups = 0
  /** The inode number shown, the same for life. */
  ino: number
  /** S_IFMT bits. */
  type: number
  upper: Presence
  /** -1: not in any lower. */
  layer: number
  lower: LayerNode
  parent: Node | null
  name: string
  dir: Directory | null = null
  extra: Extra | null = null
  /** It is certain that it has no file capabilities, which the kernel asks for at a first write. */
  bare = false

  constructor(
    id: NodeId,
    generation: number,
    ino: number,
    type: number,
    upper: Presence,
    layer: number,
    lower: LayerNode,
    parent: Node | null,
    name: string,
  ) {
    this.id = id
    this.generation = generation
    this.ino = ino
    this.type = type
    this.upper = upper
    this.layer = layer
    this.lower = lower
    this.parent = parent
    this.name = name
  }
}

export function extraOf(node: Node): Extra {
  return (node.extra ??= new Extra())
}

/** Fewer places than twice this are no burden. */
const LOOSE = 16_384

/**
 * nodeid -> Node, dense, so that it costs a word per node. An id whose node is gone is given again, with another
 * generation: the kernel has forgotten the first by then (fuse(4): nodeid and generation together are unique).
 * A child that its directory's listing alone knows (listed.ts) has the directory in its place, and the number of its entry.
 */
export class NodeTable {
  readonly #nodes: (Node | undefined)[] = [undefined]
  #entries = new Uint32Array(0)
  #free: number[] = []
  /** How many places there were when `tighten` was last called. */
  #tight = LOOSE
  /** Starts anywhere, so that a file handle of an earlier mount opens nothing here. */
  #generation = Math.floor(Math.random() * 0x40000000)
  size = 0

  /** Id for a new node. */
  take(): NodeId {
    return this.#free.pop() ?? this.#nodes.length
  }

  /** Generation for a new node: differs whenever ids have been given again. */
  get generation(): number {
    return this.#generation
  }

  /** The node comes into the place of its id, which `take` gave, or which a listed child had. */
  put(node: Node): void {
    if (this.#nodes[node.id] === undefined) this.size++
    this.#nodes[node.id] = node
  }

  get(id: NodeId): Node | undefined {
    const node = this.#nodes[id]
    return node !== undefined && node.id === id ? node : undefined
  }

  /** Id for the child that entry `entry` of the listing of `directory` is. */
  list(directory: Node, entry: number): NodeId {
    const id = this.take()
    this.#nodes[id] = directory
    this.size++
    this.setEntry(id, entry)
    return id
  }

  /** The directory whose listing has the child `id`; undefined: there is none, or it has a node. */
  directoryOf(id: NodeId): Node | undefined {
    const node = this.#nodes[id]
    return node === undefined || node.id === id ? undefined : node
  }

  entryOf(id: NodeId): number {
    return this.#entries[id] as number
  }

  setEntry(id: NodeId, entry: number): void {
    if (id >= this.#entries.length) {
      const larger = new Uint32Array(Math.max(1024, 2 * id))
      larger.set(this.#entries)
      this.#entries = larger
    }
    this.#entries[id] = entry
  }

  /** Far more nodes have been here, since `tighten`, than are now. */
  get loose(): boolean {
    return this.#nodes.length > 2 * this.#tight && this.size < this.#nodes.length >> 1
  }

  /** Lets go of the places behind the last node. */
  tighten(): void {
    let n = this.#nodes.length
    while (n > 1 && this.#nodes[n - 1] === undefined) n--
    this.#nodes.length = n
    this.#entries = this.#entries.slice(0, n)
    this.#free = this.#free.filter(id => id < n)
    this.#tight = Math.max(LOOSE, n)
  }

  remove(node: Node): void {
    if (this.#nodes[node.id] === node) this.giveBack(node.id)
  }

  /** The id is nobody's any more. */
  giveBack(id: NodeId): void {
    this.#nodes[id] = undefined
    this.#free.push(id)
    this.#generation = (this.#generation + 1) & 0x3fffffff
    this.size--
  }
}
