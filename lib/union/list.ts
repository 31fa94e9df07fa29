/**
 * Owns making listings: the merge of a directory's parts, read when somebody lists it, or when so many single lookups in it
 * cost system calls that knowing all of its names is cheaper (`worthListing`).
 * Invariant: `tree.listings` bounds what is kept; dropping a listing loses nothing but time.
 */
import { E } from '../errno.js'
import { DT_WHT, type EntrySink } from '../layer/layer.js'
import { isMark, MARK, OPAQUE_MARK } from '../layer/whiteout.js'
import { DT, O, S } from '../sys/constants.js'
import { listdir } from '../sys/dir.js'
import { close, openat } from '../sys/file.js'
import { statat } from '../sys/stat.js'
import { Found, onlyUpper } from './found.js'
import { Listing, UPPER } from './listing.js'
import { isUpperWhiteout } from './marks.js'
import { DirKind, type Node } from './node.js'
import type { Tree } from './tree.js'
import { directoryFd } from './upper.js'

/** Lookups that cost system calls before a directory's names are read for them; more for one found to be long. */
const PATIENCE = 8
/** A long directory is read once in so many entries' worth of lookups. */
const ENTRIES_PER_LOOKUP = 32
/** Names made since a listing was sorted that are kept beside it. */
const MOST_ADDED = 1 << 15

/** In `seen`: the name hides what lies below; it is no entry of the upper (those have their index instead). */
const HIDES = -1

/**
 * The listing of a directory, made if it is not at hand. A number is `-errno`. `touch`: a user lists, so the access time
 * may move.
 */
export function listingOf(tree: Tree, node: Node, touch = false): Listing | number {
  const dir = node.dir
  if (dir === null) return -E.ENOTDIR
  let { listing } = dir
  if (listing === null) {
    const r = merge(tree, node, touch)
    if (r < 0) return r
    listing = new Listing(found)
  } else {
    const settled = listing.settled(found)
    if (settled === listing) return listing
    takeOver(tree, listing, settled)
    listing = settled
  }
  remember(tree, node, listing)
  return listing
}

/** Takes the listed children (listed.ts) of `from` over into `to`, which has all of its entries that are not gone. */
function takeOver(tree: Tree, from: Listing, to: Listing): void {
  for (let i = 0, k = 0; i < from.length; i++) {
    const id = from.childId(i)
    if (id === 0) continue
    while (!from.isNamedAlike(i, to, k)) k++
    to.addChild(k, id, from.childGeneration(i))
    to.countLookups(k, from.childLookups(i))
    tree.nodes.setEntry(id, k)
    from.removeChild(i)
  }
}

/** Keeps a listing, within bounds. */
export function remember(tree: Tree, node: Node, listing: Listing): void {
  const dir = node.dir
  if (dir === null) return
  // Re-entering it drops the old one, and with it the directory's field.
  tree.listings.delete(node)
  dir.listing = listing
  dir.patience = Math.max(PATIENCE, Math.floor(listing.count / ENTRIES_PER_LOOKUP))
  tree.listings.set(node, true)
}

/** The listing if it is at hand and not too far from sorted. */
export function knownListing(tree: Tree, node: Node): Listing | null {
  const listing = node.dir?.listing ?? null
  if (listing === null || listing.added === null || listing.added.size < MOST_ADDED) return listing
  tree.listings.delete(node)
  return node.dir?.listing ?? null
}

/** A lookup in a directory without listing cost system calls in vain: reads all names once that has happened often. */
export function worthListing(tree: Tree, node: Node): void {
  const dir = node.dir
  if (dir === null) return
  if (dir.patience < 0) dir.patience = PATIENCE
  if (--dir.patience < 0) listingOf(tree, node)
}

/** What `merge` has found, or `settled` puts together. */
const found = new Found()

/** Gives entries of an index to `found`, where no name can meet another. */
class OfOneLower implements EntrySink {
  readonly inoHigh: number
  readonly at: number

  constructor(inoHigh: number, at: number) {
    this.inoHigh = inoHigh
    this.at = at
  }

  take(bytes: Buffer, from: number, to: number, type: number, ino: number): void {
    if (type !== DT_WHT) found.borrow(bytes, from, to, type, this.at, this.inoHigh, ino)
  }
}

/** Puts the merged entries of a directory into `found`. */
function merge(tree: Tree, node: Node, touch: boolean): number {
  const dir = node.dir
  if (dir === null) return -E.ENOTDIR
  found.clear()
  if (node.parent === null && node !== tree.root) return 0
  // Where one part has everything, no name can meet another.
  const single = dir.kind === DirKind.Pure || (dir.kind === DirKind.Lower && dir.lowers.length === 1)
  const seen = single ? null : new Map<string, number>()
  if (dir.kind !== DirKind.Lower) {
    const r = listUpper(tree, node, seen, touch)
    if (r < 0) return r
  }
  for (let i = 0; i < dir.lowers.length; i++) {
    const ref = dir.lowers[i]
    if (ref === undefined) continue
    const layer = tree.layer(ref.layer)
    const inoHigh = tree.inodes.high(layer.fsid)
    if (seen === null && layer.listBytes !== undefined && inoHigh >= 0)
      return layer.listBytes(ref.node, new OfOneLower(inoHigh, i))
    // What this layer hides is hidden from the layers below it, not from itself.
    const whiteouts: string[] = []
    const slot = tree.inodes.slot(layer.fsid)
    const r = layer.list(ref.node, (name, type, ino) => {
      if (type === DT_WHT) {
        if (seen !== null) whiteouts.push(name)
        return
      }
      if (seen !== null) {
        const above = seen.get(name)
        if (above !== undefined) {
          // An upper entry over a lower one: removing it takes a whiteout.
          if (above >= 0) found.coversLower(above)
          return
        }
        seen.set(name, HIDES)
      }
      found.push(name, type, i, ino > 0 ? tree.inodes.at(slot, ino) : 0)
    })
    if (r < 0) return r
    if (seen !== null) for (const name of whiteouts) if (!seen.has(name)) seen.set(name, HIDES)
  }
  return 0
}

function listUpper(tree: Tree, node: Node, seen: Map<string, number> | null, touch: boolean): number {
  const fd = directoryFd(tree, node)
  if (fd < 0) return fd
  let open = openat(fd, '.', O.RDONLY | O.DIRECTORY | (touch ? 0 : O.NOATIME))
  if (open === -E.EPERM) open = openat(fd, '.', O.RDONLY | O.DIRECTORY)
  if (open < 0) return open
  const xattrWhiteouts = node.dir?.xattrWhiteouts === true
  // Where no entry comes from elsewhere, the number in the listing is the number shown; a directory may be a mount point.
  const numbers = node.dir?.impure === false && tree.upperNumbers
  const r = listdir(open, (name, listed, ino) => {
    if (isMark(name)) {
      if (name !== OPAQUE_MARK && seen?.has(name.slice(MARK.length)) === false) seen.set(name.slice(MARK.length), HIDES)
      return
    }
    let type = listed
    if (type === DT.UNKNOWN || type === DT.CHR || (xattrWhiteouts && type === DT.REG)) {
      if (statat(fd, name, tree.st2) < 0) return
      type = (tree.st2.mode & S.IFMT) >> 12
      if (isUpperWhiteout(node, fd, name, tree.st2)) {
        seen?.set(name, HIDES)
        return
      }
    }
    seen?.set(name, found.count)
    found.push(name, onlyUpper(type), UPPER, numbers && type !== DT.DIR ? tree.inodes.at(0, ino) : 0)
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
    const listing = dir.listing.settled(found)
    for (let i = 0; i < listing.length; i++) if (listing.type(i) === DT.DIR && !listing.isGone(i)) n++
  } else {
    if (merge(tree, node, false) < 0) return 0
    for (let i = 0; i < found.count; i++) if (found.type(i) === DT.DIR) n++
  }
  dir.subdirs = n
  return n
}
