/**
 * Owns handing out listings: with names alone, or with attributes and lookups (READDIRPLUS).
 * Invariant: the offset handed out with a name is the same whenever the name is handed out (listing.ts).
 */
import { E } from '../errno.js'
import { DT } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import type { Ahead } from './ahead.js'
import { enter, FOREVER, statNode } from './attributes.js'
import type { DirSink, Entry } from './filesystem.js'
import { listingOf } from './list.js'
import { forgetListed, hasNode, list, NEEDS_NODE, peek } from './listed.js'
import type { Listing } from './listing.js'
import { lookupAt } from './lookup.js'
import type { Node } from './node.js'
import type { Tree } from './tree.js'

const entry: Entry = { nodeid: 0, generation: 0, entryTimeout: 0, attrTimeout: 0, attr: new Stat() }

/** `ahead` is told how far it came. */
export function readdir(tree: Tree, ahead: Ahead, node: Node, offset: number, sink: DirSink): number {
  if (node.dir === null) return -E.ENOTDIR
  const listing = listingOf(tree, node, true)
  if (typeof listing === 'number') return listing
  if (offset < 1 && !dots(sink, 1, node.ino)) return 0
  if (offset < 2 && !dots(sink, 2, (node.parent ?? node).ino)) return 0
  const beginning = offset < 3
  for (let i = listing.after(Math.max(offset, 2)); i < listing.length; i++) {
    if (listing.isGone(i)) continue
    if (!sink.plus) {
      if (!sink.name(listing.name(i), inoOf(tree, node, listing, i), listing.type(i), listing.offset(i))) return 0
      continue
    }
    const child = childAt(tree, node, listing, i)
    // It went away meanwhile, or it cannot be read: then without attributes, so that it can be seen and removed.
    if (child === -E.ENOENT) continue
    if (typeof child === 'number' && child < 0) fillBare()
    if (!sink.entry(listing.bytes, listing.start(i), listing.end(i), listing.offset(i), entry, listing.type(i))) {
      if (typeof child !== 'number') child.lookups--
      else if (child > 0) forgetListed(tree, child, 1)
      ahead.listed(node, listing, i, beginning)
      return 0
    }
  }
  listing.foreseen = null
  if (sink.plus) ahead.listed(node, listing, listing.length, beginning)
  // A long listing that has been read to its end is not worth its memory: the kernel keeps it.
  if (listing.length > LONG) tree.listings.delete(node)
  return 0
}

/** Entries. */
const LONG = 4096

const DOTS = Buffer.from('..')

/** `.` or `..`, by its number of dots, which is its offset. */
function dots(sink: DirSink, count: number, ino: number): boolean {
  if (!sink.plus) return sink.name(DOTS.latin1Slice(0, count), ino, DT.DIR, count)
  fillBare()
  entry.attr.ino = ino
  return sink.entry(DOTS, 0, count, count, entry, DT.DIR)
}

/** An entry without a node and without attributes. */
function fillBare(): void {
  entry.nodeid = 0
  entry.generation = 0
  entry.entryTimeout = 0
  entry.attrTimeout = 0
}

/**
 * Fills `entry` with entry `i` and counts a lookup of it. Returns its node; or its id, where it has none (listed.ts); or
 * `-errno`.
 */
function childAt(tree: Tree, parent: Node, listing: Listing, i: number): Node | number {
  const listed = listedAt(tree, parent, listing, i)
  if (listed !== NEEDS_NODE) return listed
  const child = nodeAt(tree, parent, listing, i)
  if (typeof child === 'number') return child
  enter(tree, child, entry)
  return child
}

/** `childAt` of an entry that does without a node; NEEDS_NODE: it does not. */
function listedAt(tree: Tree, parent: Node, listing: Listing, i: number): number {
  let id = listing.childId(i)
  if (id === 0 && hasNode(parent, listing, i)) return NEEDS_NODE
  const r = peek(tree, parent, listing, i, entry.attr)
  if (r !== 0) return r
  if (id === 0) id = list(tree, parent, listing, i)
  if (id === 0) return NEEDS_NODE
  listing.countLookups(i, 1)
  tree.ids?.show(entry.attr)
  entry.nodeid = id
  entry.generation = listing.childGeneration(i)
  entry.entryTimeout = FOREVER
  entry.attrTimeout = FOREVER
  return id
}

/** The node of entry `i`, its attributes in `entry.attr`; or `-errno`. */
function nodeAt(tree: Tree, parent: Node, listing: Listing, i: number): Node | number {
  const name = listing.name(i)
  const known = parent.dir?.children?.get(name)
  if (known === undefined) return lookupAt(tree, parent, name, listing.at(i), entry.attr, listing.ino(i))
  const r = statNode(tree, known, entry.attr)
  return r < 0 ? r : known
}

/** The inode number of an entry listed without attributes. */
function inoOf(tree: Tree, parent: Node, listing: Listing, i: number): number {
  const known = parent.dir?.children?.get(listing.name(i))
  if (known !== undefined) return known.ino
  const listed = listing.ino(i)
  if (listed > 0) return listed
  if (listing.childId(i) !== 0) return peek(tree, parent, listing, i, entry.attr) === 0 ? entry.attr.ino : 1
  const child = nodeAt(tree, parent, listing, i)
  if (typeof child === 'number') return 1
  const { ino } = child
  tree.collect(child)
  return ino
}
