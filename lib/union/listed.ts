/**
 * Owns the children that the kernel knows from a listing and nobody has asked for: they have an id and no node. An entry of
 * the directory's listing stands for each (`Listing.listed`), with its id, generation and lookups, so that listing 20,000
 * names makes no 20,000 objects. The first request for such an id, or for its name, makes the node.
 * Invariants: such a child is a file of a lower with one link and nothing that its attributes do not say, so all about it is
 * found again by its name; a listing is kept as long as it has one; who changes a name looks it up first.
 */
import { E } from '../errno.js'
import { DT, S } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import type { NodeId } from './filesystem.js'
import { Foreseen } from './foreseen.js'
import { type Listing, UPPER } from './listing.js'
import { lookupLower, mayBeMetacopy } from './lookup-lower.js'
import type { Node } from './node.js'
import { PROTECTED } from './protect.js'
import type { Tree } from './tree.js'

/** `peek`: it takes a node. */
export const NEEDS_NODE = 1

const scratch = new Stat()

/** Whether there is a node under the name of entry `i`. */
export function hasNode({ dir }: Node, listing: Listing, i: number): boolean {
  const children = dir?.children ?? null
  return children !== null && children.size > 0 && children.has(listing.name(i))
}

/**
 * Fills `st` with the attributes of entry `i`, of which there is no node: 0 when it can do without one, NEEDS_NODE, or
 * `-errno`.
 */
export function peek(tree: Tree, directory: Node, listing: Listing, i: number, st: Stat): number {
  const type = listing.type(i)
  const at = listing.at(i)
  if (type === DT.DIR || at === UPPER) return NEEDS_NODE
  const ref = directory.dir?.lowers[at]
  if (ref === undefined) return NEEDS_NODE
  const layer = tree.layer(ref.layer)
  if (layer.listBytes !== undefined) {
    const shown = listing.ino(i)
    const own = tree.inodes.below(layer.fsid, shown)
    if (own < 0) return NEEDS_NODE
    const r = layer.stat(own, st)
    if (r < 0) return r
    st.ino = shown
    if (mayBeMetacopy(tree, ref.layer, st) && layer.overlayXattr(own, 'metacopy') !== undefined) return NEEDS_NODE
  } else {
    if (layer.peek === undefined) return NEEDS_NODE
    if (listing.foreseen?.get(i, st) === true) return 0
    const r = layer.peek(ref.node, listing.name(i), st)
    if (r < 0) return r
    st.ino = tree.inoIn(ref.layer, st)
    if (mayBeMetacopy(tree, ref.layer, st)) return NEEDS_NODE
  }
  const plain = st.nlink === 1 && (st.mode & S.IFMT) >> 12 === type && (st.attributes & PROTECTED) === 0
  return plain ? 0 : NEEDS_NODE
}

/** `peek` before anybody asks: what costs a call of the layer's filesystem is remembered until the entry is listed. */
export function foresee(tree: Tree, directory: Node, listing: Listing, i: number, st: Stat, most: number): number {
  const r = peek(tree, directory, listing, i, st)
  const ref = directory.dir?.lowers[listing.at(i)]
  if (r !== 0 || ref === undefined || tree.layer(ref.layer).listBytes !== undefined) return r
  listing.foreseen ??= new Foreseen(Math.min(most, listing.length))
  listing.foreseen.put(i, st)
  return 0
}

/** Gives entry `i`, for which `peek` said 0, an id. Returns it, or 0 when the listing is not the directory's any more. */
export function list(tree: Tree, directory: Node, listing: Listing, i: number): NodeId {
  const { dir } = directory
  if (dir === null) return 0
  dir.listing ??= listing
  if (dir.listing !== listing) return 0
  const { generation } = tree.nodes
  const id = tree.nodes.list(directory, i)
  listing.addChild(i, id, generation)
  return id
}

/** The node of the listed child `id`, made now. Undefined: there is none, or it cannot be reached. */
export function nodeOfListed(tree: Tree, id: NodeId): Node | undefined {
  const directory = tree.nodes.directoryOf(id)
  const listing = directory?.dir?.listing ?? null
  if (directory === undefined || listing === null) return undefined
  const node = nodeOfEntry(tree, directory, listing, tree.nodes.entryOf(id), scratch)
  return typeof node === 'number' ? undefined : node
}

/** The node of entry `i`, a listed child, its attributes in `st`; or `-errno`. */
export function nodeOfEntry(tree: Tree, directory: Node, listing: Listing, i: number, st: Stat): Node | number {
  const id = listing.childId(i)
  tree.awaited = { id, generation: listing.childGeneration(i) }
  const node = lookupLower(tree, directory, listing.name(i), listing.at(i), st, listing.ino(i))
  tree.awaited = null
  if (typeof node === 'number') return node
  if (node.id !== id) return -E.EIO
  node.lookups += listing.childLookups(i)
  remove(tree, directory, listing, i)
  return node
}

/** The kernel gives back `count` lookups of `id`, which has no node. */
export function forgetListed(tree: Tree, id: NodeId, count: number): void {
  const directory = tree.nodes.directoryOf(id)
  const listing = directory?.dir?.listing ?? null
  if (directory === undefined || listing === null) return
  const i = tree.nodes.entryOf(id)
  if (listing.countLookups(i, -count) > 0) return
  tree.nodes.giveBack(id)
  remove(tree, directory, listing, i)
  tree.collect(directory)
}

function remove(tree: Tree, directory: Node, listing: Listing, i: number): void {
  listing.removeChild(i)
  if (listing.known === 0 && directory.dir !== null && !tree.listings.has(directory)) directory.dir.listing = null
}
