/**
 * Owns handing out listings: with names alone, or with attributes and lookups (READDIRPLUS).
 * Invariant: the offset handed out with a name is the same whenever the name is handed out (listing.ts).
 */
import { E } from '../errno.js'
import { DT } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import type { Ahead } from './ahead.js'
import { enter, statNode } from './attributes.js'
import type { DirSink, Entry } from './filesystem.js'
import { listingOf } from './list.js'
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
  if (offset < 1 && !dots(sink, '.', node.ino, 1)) return 0
  if (offset < 2 && !dots(sink, '..', (node.parent ?? node).ino, 2)) return 0
  const { names, offsets } = listing
  const beginning = offset < 3
  for (let i = listing.after(Math.max(offset, 2)); i < names.length; i++) {
    const name = names[i] as string
    if (name === '') continue
    const type = listing.type(i)
    const at = offsets[i] as number
    if (!sink.plus) {
      if (!sink.name(name, inoOf(tree, node, listing, i), type, at)) return 0
      continue
    }
    const child = childAt(tree, node, listing, i)
    if (typeof child === 'number') {
      // It went away meanwhile, or it cannot be read: then without attributes, so that it can be seen and removed.
      if (child === -E.ENOENT) continue
      if (!bare(sink, name, type, at)) return 0
      continue
    }
    enter(tree, child, entry)
    if (!sink.entry(name, at, entry, type)) {
      child.lookups--
      ahead.listed(node, listing, i, beginning)
      return 0
    }
  }
  if (sink.plus) ahead.listed(node, listing, names.length, beginning)
  // A long listing that has been read to its end is not worth its memory: the kernel keeps it.
  if (names.length > LONG) tree.listings.delete(node)
  return 0
}

/** Entries. */
const LONG = 4096

function dots(sink: DirSink, name: string, ino: number, offset: number): boolean {
  if (!sink.plus) return sink.name(name, ino, DT.DIR, offset)
  entry.attr.ino = ino
  entry.attr.mode = 0o040000
  return bare(sink, name, DT.DIR, offset)
}

function bare(sink: DirSink, name: string, type: number, offset: number): boolean {
  entry.nodeid = 0
  entry.generation = 0
  entry.entryTimeout = 0
  entry.attrTimeout = 0
  return sink.entry(name, offset, entry, type)
}

/** The node of entry `i`, its attributes in `entry.attr`; or `-errno`. */
function childAt(tree: Tree, parent: Node, listing: Listing, i: number): Node | number {
  const name = listing.names[i] as string
  const known = parent.dir?.children?.get(name)
  if (known === undefined) return lookupAt(tree, parent, name, listing.at(i), entry.attr)
  const r = statNode(tree, known, entry.attr)
  return r < 0 ? r : known
}

/** The inode number of an entry listed without attributes. */
function inoOf(tree: Tree, parent: Node, listing: Listing, i: number): number {
  const known = parent.dir?.children?.get(listing.names[i] as string)
  if (known !== undefined) return known.ino
  const listed = listing.inos[i] as number
  if (listed > 0) return listed
  const child = childAt(tree, parent, listing, i)
  if (typeof child === 'number') return 1
  const { ino } = child
  tree.collect(child)
  return ino
}
