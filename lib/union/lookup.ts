/**
 * Owns the merge of names: which object of which layer a name in a directory means.
 * - Topmost wins. A whiteout ends the search, and so does anything that is no directory. Directories of the same name
 *   merge down to the first opaque one, or to the first thing that is none.
 * - A redirect (of an upper or a lower directory) says under which name, or path from the roots, the layers below have it.
 * Results are nodes, or `-errno` as numbers. Invariant: looking up changes no disk.
 */
import { E } from '../errno.js'
import type { LayerNode } from '../layer/layer.js'
import { isMark, MARK } from '../layer/whiteout.js'
import { S } from '../sys/constants.js'
import { statat, type Stat } from '../sys/stat.js'
import { listxattrat } from '../sys/xattr.js'
import { keptAside } from './aside.js'
import { statNode } from './attributes.js'
import { isUpperWhiteout, readDirectoryMarks, readMark, text, validRedirect } from './marks.js'
import { knownListing, worthListing } from './list.js'
import { nodeOfEntry } from './listed.js'
import { NOWHERE, UPPER } from './listing.js'
import { collect, lookupLower, NO_LOWERS } from './lookup-lower.js'
import { DirKind, Directory, type LowerRef, type Node, Presence } from './node.js'
import { lookupIndexed } from './hard-links.js'
import { parseProtection, setProtection } from './protect.js'
import type { Tree } from './tree.js'
import { directoryFd } from './upper.js'

/** Bytes of a name, as on every filesystem that can be an upper. Newer kernels let longer ones through (seen on Linux 6.18). */
export const NAME_MAX = 255

/** The node of `name` in directory `parent`, its attributes in `st`. Adds no lookup count: `tree.collect` what is not kept. */
export function lookup(tree: Tree, parent: Node, name: string, st: Stat): Node | number {
  const dir = parent.dir
  if (dir === null) return -E.ENOTDIR
  const known = dir.children?.get(name)
  if (known !== undefined) {
    const r = statNode(tree, known, st)
    return r < 0 ? r : known
  }
  if (name.length > NAME_MAX) return -E.ENAMETOOLONG
  if (isMark(name)) return -E.ENOENT
  if (parent.parent === null && parent !== tree.root) return -E.ENOENT
  const listing = knownListing(tree, parent)
  if (listing !== null) {
    if (listing.known > 0) {
      const i = listing.index(name)
      if (i >= 0 && listing.childId(i) !== 0) return nodeOfEntry(tree, parent, listing, i, st)
    }
    const at = listing.place(name)
    return at === NOWHERE ? -E.ENOENT : lookupAt(tree, parent, name, at, st)
  }
  const node = search(tree, parent, name, st)
  // In a directory with one part, finding a name took one call, as it would with all names known.
  if (node === -E.ENOENT || (dir.kind === DirKind.Merged && typeof node !== 'number' && node.upper === Presence.None))
    worthListing(tree, parent)
  return node
}

/**
 * `lookup` of a name that the directory's listing has, at `at` and, if it tells, with inode number `shown`, and that is no
 * known child: one part is asked.
 */
export function lookupAt(
  tree: Tree,
  parent: Node,
  name: string,
  at: number,
  st: Stat,
  shown: number = 0,
): Node | number {
  if (at !== UPPER) return lookupLower(tree, parent, name, at, st, shown)
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  const r = statat(fd, name, st)
  return r < 0 ? r : foundUpper(tree, parent, fd, name, st)
}

/** Asks one part of the merge after the other. */
function search(tree: Tree, parent: Node, name: string, st: Stat): Node | number {
  const dir = parent.dir
  if (dir === null) return -E.ENOTDIR
  if (dir.kind !== DirKind.Lower) {
    const fd = directoryFd(tree, parent)
    if (fd < 0) return fd
    const r = statat(fd, name, st)
    if (r === 0) return foundUpper(tree, parent, fd, name, st)
    if (r !== -E.ENOENT) return r
    if (dir.kind === DirKind.Pure || hasMark(fd, name, st)) return -E.ENOENT
  }
  return lookupLower(tree, parent, name, 0, st)
}

/** Whether a `.wh.NAME` stands beside. */
export function hasMark(fd: number, name: string, st: Stat): boolean {
  return name.length <= NAME_MAX - MARK.length && statat(fd, MARK + name, st) === 0
}

function foundUpper(tree: Tree, parent: Node, fd: number, name: string, st: Stat): Node | number {
  if (isUpperWhiteout(parent, fd, name, st)) return -E.ENOENT
  const type = st.mode & S.IFMT
  if (type === S.IFDIR) return foundUpperDirectory(tree, parent, fd, name, st)
  return foundUpperFile(tree, parent, fd, name, type, st)
}

function foundUpperFile(tree: Tree, parent: Node, fd: number, name: string, type: number, st: Stat): Node | number {
  let ino = tree.inodes.of(st.dev, st.ino)
  let presence: Presence = Presence.Full
  let redirect: string | null = null
  let protect = st.attributes
  if (parent.dir?.impure === true) {
    const names = listxattrat(fd, name)
    if (typeof names !== 'number' && names.length > 0) {
      for (const xattr of names) {
        if (xattr.endsWith('overlay.origin') || xattr.endsWith('overlay.lamina')) ino = originOf(tree, fd, name, ino)
        else if (xattr.endsWith('overlay.metacopy')) presence = Presence.Meta
        else if (xattr.endsWith('overlay.protattr'))
          protect |= parseProtection(text(readMark(tree, fd, name, 'protattr') ?? 0))
        else if (xattr.endsWith('overlay.redirect'))
          redirect = validRedirect(text(readMark(tree, fd, name, 'redirect') ?? 0))
      }
    } else if (keptAside(type) && (tree.work?.aside ?? null) !== null) ino = originOf(tree, fd, name, ino)
  }
  const indexed = st.nlink > 1 && type !== S.IFDIR
  // A file that had several names may be down to this one.
  if (indexed || tree.linked.size > 0) {
    const same = tree.linked.get(ino)
    if (same !== undefined && same.upper !== Presence.None && same.type === type) {
      tree.addName(same, parent, name)
      const r = statNode(tree, same, st)
      return r < 0 ? r : same
    }
  }
  let layer = -1
  let lower: LayerNode = 0
  if (presence === Presence.Meta && type === S.IFREG) {
    const data = findData(tree, parent, name, redirect, st)
    // Without its data the file cannot be served: the kernel says EIO too.
    if (data === null) return -E.EIO
    layer = data.layer
    lower = data.node
  } else presence = Presence.Full
  const node = tree.make(parent, name, ino, type, presence, layer, lower)
  setProtection(node, protect)
  if (indexed) {
    tree.linked.set(ino, node)
    lookupIndexed(tree, node, fd, name)
  }
  const r = statNode(tree, node, st)
  return r < 0 ? r : node
}

/** The number shown for what `name` was copied up from, `own` where that is not known. */
function originOf(tree: Tree, fd: number, name: string, own: number): number {
  const handle = readMark(tree, fd, name, 'origin')
  const number = handle === undefined ? readMark(tree, fd, name, 'lamina') : undefined
  const origin =
    handle !== undefined ? tree.origins.decode(handle) : number !== undefined ? tree.origins.decodeOwn(number) : -1
  return origin > 0 ? origin : own
}

/** The lower regular file that holds a metacopy's data. */
function findData(tree: Tree, parent: Node, name: string, redirect: string | null, st: Stat): LowerRef | null {
  const stack = collect(tree, parent, redirect ?? name, st, S.IFREG)
  const data = stack[0]
  if (data === undefined) return null
  for (let i = 1; i < stack.length; i++) {
    const ref = stack[i]
    if (ref !== undefined) tree.layer(ref.layer).release(ref.node)
  }
  return data
}

function foundUpperDirectory(tree: Tree, parent: Node, fd: number, name: string, st: Stat): Node | number {
  const upperIno = tree.inodes.of(st.dev, st.ino)
  const node = tree.make(parent, name, upperIno, S.IFDIR, Presence.Full, -1, 0)
  const own = directoryFd(tree, node)
  if (own < 0) {
    node.dir = new Directory(DirKind.Pure, NO_LOWERS)
    tree.collect(node)
    return own
  }
  const marks = readDirectoryMarks(own, tree.st2)
  setProtection(node, st.attributes | marks.protect)
  let lowers = NO_LOWERS
  const absolute = marks.redirect?.startsWith('/') === true
  if (!marks.opaque && (absolute || (parent.dir?.kind !== DirKind.Pure && !hasMark(fd, name, tree.st2)))) {
    lowers = collect(tree, parent, marks.redirect ?? name, st, S.IFDIR)
  }
  const dir = new Directory(lowers.length === 0 ? DirKind.Pure : DirKind.Merged, lowers)
  dir.redirect = marks.redirect
  dir.impure = marks.impure
  dir.xattrWhiteouts = marks.xattrWhiteouts
  node.dir = dir
  const top = lowers[0]
  if (top !== undefined) {
    const ino = tree.lowerIno(top.layer, top.node)
    if (ino > 0) node.ino = ino
  }
  const r = statNode(tree, node, st)
  if (r < 0) tree.collect(node)
  return r < 0 ? r : node
}
