/**
 * Owns listing directories: which names the merge shows, and in what order.
 * Order and offset of an entry come from a 51-bit hash of its name, so an offset belongs to the name for ever, without any
 * open handle: entries may come and go between two calls, a listing can be dropped and made again, and the kernel may keep
 * what it has read. (The kernel's ext4 does the same.) Two names with one hash stand next to each other, in name order,
 * with consecutive offsets.
 * Invariant: a listing, while kept, holds exactly the entries of the merged directory.
 */
import { E } from '../errno.js'
import { DT_WHT } from '../layer/layer.js'
import { isMark, MARK, OPAQUE_MARK } from '../layer/whiteout.js'
import { DT, O, S } from '../sys/constants.js'
import { listdir } from '../sys/dir.js'
import { close, openat } from '../sys/file.js'
import { statat } from '../sys/stat.js'
import { isUpperWhiteout } from './marks.js'
import { DirKind, type Node } from './node.js'
import type { Tree } from './tree.js'
import { directoryFd } from './upper.js'

/** The first offset a name can have: `.` and `..` are 1 and 2. */
export const FIRST_OFFSET = 3

export class Listing {
  /** Sorted by offset. A removed entry's name is ''. */
  readonly names: string[]
  readonly offsets: Float64Array
  readonly types: Uint8Array
  /** Live entries of the sorted part and the added ones. */
  count: number
  /** Entries made since, not yet sorted in. */
  added: Map<string, number> | null = null

  constructor(entries: Map<string, number>) {
    const names = [...entries.keys()]
    const n = names.length
    const hashes = new Float64Array(n)
    for (let i = 0; i < n; i++) hashes[i] = hashOf(names[i] as string)
    const order = new Uint32Array(n)
    for (let i = 0; i < n; i++) order[i] = i
    order.sort((a, b) => {
      const d = (hashes[a] as number) - (hashes[b] as number)
      return d !== 0 ? d : (names[a] as string) < (names[b] as string) ? -1 : 1
    })
    this.names = new Array<string>(n)
    this.offsets = new Float64Array(n)
    this.types = new Uint8Array(n)
    let last = 0
    for (let i = 0; i < n; i++) {
      const from = order[i] as number
      const name = names[from] as string
      last = Math.max(last + 1, hashes[from] as number)
      this.names[i] = name
      this.offsets[i] = last
      this.types[i] = entries.get(name) as number
    }
    this.count = n
  }

  /** Index of the first entry after `offset`. */
  after(offset: number): number {
    let low = 0
    let high = this.offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.offsets[middle] as number) > offset) high = middle
      else low = middle + 1
    }
    return low
  }

  add(name: string, type: number): void {
    this.added ??= new Map()
    if (!this.added.has(name)) this.count++
    this.added.set(name, type)
  }

  remove(name: string): void {
    if (this.added?.delete(name) === true) {
      this.count--
      return
    }
    for (let i = this.after(hashOf(name) - 1); i < this.names.length; i++) {
      if (this.names[i] === name) {
        this.names[i] = ''
        this.count--
        return
      }
      if ((this.offsets[i] as number) > hashOf(name) + 64) return
    }
  }

  /** This listing with the added entries in their places. */
  settled(): Listing {
    if (this.added === null || this.added.size === 0) return this
    const all = new Map<string, number>()
    for (let i = 0; i < this.names.length; i++) {
      if (this.names[i] !== '') all.set(this.names[i] as string, this.types[i] as number)
    }
    for (const [name, type] of this.added) all.set(name, type)
    return new Listing(all)
  }
}

/** 51 bits, at least FIRST_OFFSET: two rounds of multiply and rotate over the bytes, mixed at the end. */
export function hashOf(name: string): number {
  let a = 0x9e3779b9
  let b = 0x85ebca6b
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i)
    a = Math.imul(a ^ c, 0x01000193)
    b = Math.imul(b + c, 0xc2b2ae35)
    b = (b << 13) | (b >>> 19)
  }
  a = Math.imul(a ^ (a >>> 16) ^ b, 0x85ebca6b)
  b = Math.imul(b ^ (b >>> 15) ^ a, 0x27d4eb2f)
  return FIRST_OFFSET + (((a ^ (a >>> 13)) >>> 13) * 0x100000000 + ((b ^ (b >>> 16)) >>> 0))
}

/**
 * The listing of a directory, made if it is not at hand. A number is `-errno`. `touch`: a user lists, so the access time
 * may move.
 */
export function listingOf(tree: Tree, node: Node, touch = false): Listing | number {
  const dir = node.dir
  if (dir === null) return -E.ENOTDIR
  let { listing } = dir
  if (listing === null) {
    const entries = new Map<string, number>()
    const r = merge(tree, node, entries, touch)
    if (r < 0) return r
    listing = new Listing(entries)
  } else {
    const settled = listing.settled()
    if (settled === listing) return listing
    listing = settled
  }
  // Re-entering it drops the old one, and with it the directory's field.
  tree.listings.delete(node)
  dir.listing = listing
  tree.listings.set(node, true)
  return listing
}

/** Puts the merged entries of a directory into `entries`: name to dirent type. */
function merge(tree: Tree, node: Node, entries: Map<string, number>, touch: boolean): number {
  const dir = node.dir
  if (dir === null) return -E.ENOTDIR
  if (node.parent === null && node !== tree.root) return 0
  const hidden =
    dir.lowers.length === 0 || (dir.kind === DirKind.Lower && dir.lowers.length === 1) ? null : new Set<string>()
  if (dir.kind !== DirKind.Lower) {
    const r = listUpper(tree, node, entries, hidden, touch)
    if (r < 0) return r
  }
  for (let i = 0; i < dir.lowers.length; i++) {
    const ref = dir.lowers[i]
    if (ref === undefined) continue
    const first = hidden === null
    // What this layer hides is hidden from the layers below it, not from itself.
    const whiteouts: string[] = []
    const r = tree.layer(ref.layer).list(ref.node, (name, type) => {
      if (type === DT_WHT) whiteouts.push(name)
      else if (first || (!hidden.has(name) && !entries.has(name))) entries.set(name, type)
    })
    if (r < 0) return r
    if (hidden !== null) for (const name of whiteouts) if (!entries.has(name)) hidden.add(name)
  }
  return 0
}

function listUpper(
  tree: Tree,
  node: Node,
  entries: Map<string, number>,
  hidden: Set<string> | null,
  touch: boolean,
): number {
  const fd = directoryFd(tree, node)
  if (fd < 0) return fd
  let open = openat(fd, '.', O.RDONLY | O.DIRECTORY | (touch ? 0 : O.NOATIME))
  if (open === -E.EPERM) open = openat(fd, '.', O.RDONLY | O.DIRECTORY)
  if (open < 0) return open
  const xattrWhiteouts = node.dir?.xattrWhiteouts === true
  const r = listdir(open, (name, listed) => {
    if (isMark(name)) {
      if (name !== OPAQUE_MARK) hidden?.add(name.slice(MARK.length))
      return
    }
    let type = listed
    if (type === DT.UNKNOWN || type === DT.CHR || (xattrWhiteouts && type === DT.REG)) {
      if (statat(fd, name, tree.st2) < 0) return
      type = (tree.st2.mode & S.IFMT) >> 12
      if (isUpperWhiteout(node, fd, name, tree.st2)) {
        hidden?.add(name)
        return
      }
    }
    entries.set(name, type)
  })
  close(open)
  return r
}

/** Whether the merged directory shows nothing: 1, 0, or `-errno`. */
export function isEmpty(tree: Tree, node: Node): number {
  const listing = listingOf(tree, node)
  return typeof listing === 'number' ? listing : listing.count === 0 ? 1 : 0
}

/** How many subdirectories a merged directory shows. */
export function subdirectories(tree: Tree, node: Node): number {
  const dir = node.dir
  if (dir === null) return 0
  if (dir.subdirs >= 0) return dir.subdirs
  let n = 0
  if (dir.listing !== null) {
    const listing = dir.listing.settled()
    for (let i = 0; i < listing.names.length; i++) if (listing.names[i] !== '' && listing.types[i] === DT.DIR) n++
  } else {
    const entries = new Map<string, number>()
    if (merge(tree, node, entries, false) < 0) return 0
    for (const type of entries.values()) if (type === DT.DIR) n++
  }
  dir.subdirs = n
  return n
}

/** Notes that a name came into a directory. `type` is S_IFMT bits. */
export function noteAdded(parent: Node, name: string, type: number): void {
  const dir = parent.dir
  if (dir === null) return
  dir.listing?.add(name, type >> 12)
  if (type === S.IFDIR && dir.subdirs >= 0) dir.subdirs++
}

/** Notes that a name went out of a directory. */
export function noteRemoved(parent: Node, name: string, type: number): void {
  const dir = parent.dir
  if (dir === null) return
  dir.listing?.remove(name)
  if (type === S.IFDIR && dir.subdirs > 0) dir.subdirs--
}
