/**
 * Owns rename, with NOREPLACE and EXCHANGE. Before anything moves, source and target directory are in the upper, and what
 * makes the moved thing right at its new place is written (each harmless where it still stands):
 * - a directory with lowers gets a redirect, so that it never has to be copied (no EXDEV);
 * - a directory without gets opaque, if the lowers have something of the new name;
 * - a metadata copy gets the path of its data.
 * Then one renameat2 does it, leaving a whiteout behind (RENAME_WHITEOUT) if the lowers have the old name.
 * RENAME_WHITEOUT from a user is EINVAL, as overlayfs says: a whiteout cannot be shown in a tree that has its own.
 */
import { E } from '../errno.js'
import { AT, RENAME } from '../sys/constants.js'
import { Stat, statat } from '../sys/stat.js'
import { isMark } from '../layer/whiteout.js'
import { copyUp, copyUpDirectory } from './copy-up.js'
import { isForeign, markImpure, pinData } from './create.js'
import { isEmpty } from './list.js'
import { noteAdded, noteRemoved } from './listing.js'
import { lookup, NAME_MAX } from './lookup.js'
import { isUpperWhiteout, setOpaque, setRedirect } from './marks.js'
import { mutate } from './mutate.js'
import { DirKind, type Node, Presence } from './node.js'
import { refuseEntry, refuseRemoval } from './protect.js'
import { lowerPath } from './redirect.js'
import { coversLower, keep, lost, lowerHas, readyToUnname, unkeep } from './remove.js'
import type { Tree } from './tree.js'
import { directoryFd, locate, restoreTimes, statUpper } from './upper.js'
import { clearMark, putWhiteout } from './whiteouts.js'

export function rename(
  tree: Tree,
  parent: Node,
  name: string,
  newParent: Node,
  newName: string,
  flags: number,
): number {
  if (tree.work === null) return -E.EROFS
  if ((flags & ~(RENAME.NOREPLACE | RENAME.EXCHANGE)) !== 0) return -E.EINVAL
  if (flags === (RENAME.NOREPLACE | RENAME.EXCHANGE)) return -E.EINVAL
  if (isMark(newName)) return -E.EINVAL
  if (newName.length > NAME_MAX) return -E.ENAMETOOLONG
  const source = lookup(tree, parent, name, tree.st)
  if (typeof source === 'number') return source
  const found = lookup(tree, newParent, newName, tree.st)
  const target = typeof found === 'number' ? null : found
  // Held, so that taking names away does not drop what is still needed here.
  parent.lookups++
  newParent.lookups++
  source.lookups++
  if (target !== null) target.lookups++
  let r = typeof found === 'number' && found !== -E.ENOENT ? found : 0
  if (r === 0) r = permitted(tree, source, parent, target, newParent, flags)
  if (r === 0) {
    r =
      (flags & RENAME.EXCHANGE) !== 0 && target !== null
        ? exchange(tree, source, parent, name, target, newParent, newName)
        : move(tree, source, parent, name, target, newParent, newName)
  }
  parent.lookups--
  newParent.lookups--
  source.lookups--
  tree.collect(source)
  if (target !== null) {
    target.lookups--
    tree.collect(target)
  }
  return r === SAME ? 0 : r
}

/** Both names are links of one inode: rename(2) does nothing. */
const SAME = 1

function permitted(
  tree: Tree,
  source: Node,
  parent: Node,
  target: Node | null,
  newParent: Node,
  flags: number,
): number {
  if (newParent.parent === null && newParent !== tree.root) return -E.ENOENT
  if (target !== null && (flags & RENAME.NOREPLACE) !== 0) return -E.EEXIST
  if (target === null && (flags & RENAME.EXCHANGE) !== 0) return -E.ENOENT
  if (source === target) return SAME
  const refused = refuseRemoval(parent, source)
  if (refused < 0) return refused
  const there = target === null ? refuseEntry(newParent) : refuseRemoval(newParent, target)
  if (there < 0) return there
  for (let n: Node | null = newParent; n !== null; n = n.parent) if (n === source) return -E.EINVAL
  if (target === null || (flags & RENAME.EXCHANGE) !== 0) return 0
  if (source.dir !== null && target.dir === null) return -E.ENOTDIR
  if (source.dir === null && target.dir !== null) return -E.EISDIR
  if (target.dir === null) return 0
  const empty = isEmpty(tree, target)
  return empty === 0 ? -E.ENOTEMPTY : empty < 0 ? empty : 0
}

/** Makes `node` ready to stand under another name: up, and with the marks that keep it what it is. */
function ready(tree: Tree, node: Node, parent: Node, name: string, newParent: Node, newName: string): number {
  const dir = node.dir
  if (dir !== null && dir.lowers.length > 0 && !tree.redirects) return -E.EXDEV
  let r = copyUp(tree, node, tree.metacopy ? Presence.Meta : Presence.Full)
  if (r >= 0) r = copyUpDirectory(tree, newParent)
  if (r >= 0) r = readyToUnname(tree, node, parent, name)
  if (r < 0) return r
  if (node.upper === Presence.Meta) r = pinData(tree, node)
  else if (dir !== null) r = markDirectory(tree, node, parent, newParent, newName)
  if (r < 0) return r
  if (parent !== newParent && newParent.dir?.impure !== true && isForeign(tree, node)) {
    const fd = directoryFd(tree, newParent)
    return fd < 0 ? fd : markImpure(tree, newParent, fd)
  }
  return 0
}

function markDirectory(tree: Tree, node: Node, parent: Node, newParent: Node, newName: string): number {
  const dir = node.dir
  if (dir === null) return 0
  if (dir.kind === DirKind.Merged) {
    const old = dir.redirect
    if (old?.startsWith('/') === true) return 0
    const to = parent === newParent ? (old ?? node.name) : lowerPath(node)
    if (to === null) return -E.EXDEV
    if (to === old) return 0
    const fd = locate(tree, node)
    if (fd < 0) return fd
    const r = setRedirect(tree, fd, tree.name, to)
    if (r >= 0) dir.redirect = to
    return r
  }
  if (newParent.dir?.kind !== DirKind.Merged || !lowerHas(tree, newParent, newName, tree.st2)) return 0
  const fd = locate(tree, node)
  return fd < 0 ? fd : setOpaque(tree, fd, tree.name)
}

function move(
  tree: Tree,
  source: Node,
  parent: Node,
  name: string,
  target: Node | null,
  newParent: Node,
  newName: string,
): number {
  let r = ready(tree, source, parent, name, newParent, newName)
  if (r < 0) return r
  if (target !== null) {
    r = readyToUnname(tree, target, newParent, newName)
    if (r < 0) return r
  }
  r = settleTimes(tree, source, target, parent, newParent)
  if (r < 0) return r
  const from = directoryFd(tree, parent)
  if (from < 0) return from
  const to = directoryFd(tree, newParent)
  if (to < 0) return to
  if (target !== null) keep(tree, target, newParent, newName)
  const below = coversLower(tree, parent, name)
  r = shift(tree, source, parent, from, name, target, newParent, to, newName, below)
  if (r < 0) {
    if (target !== null) unkeep(target)
    return r
  }
  clearMark(tree, to, newName)
  if (target !== null) lost(tree, target, newParent, newName)
  renamed(tree, source, parent, name, newParent, newName)
  return 0
}

/** Both directories change now; and what is noted of times names a path, which a moved directory may be part of. */
function settleTimes(tree: Tree, source: Node, target: Node | null, parent: Node, newParent: Node): number {
  const { owed } = tree
  if (owed === null) return 0
  if (source.dir !== null || (target !== null && target.dir !== null)) return owed.clear()
  const r = owed.settle(parent)
  return r < 0 ? r : owed.settle(newParent)
}

function shift(
  tree: Tree,
  source: Node,
  parent: Node,
  from: number,
  name: string,
  target: Node | null,
  newParent: Node,
  to: number,
  newName: string,
  below: boolean,
): number {
  if (source.dir !== null && statat(to, newName, tree.st2) >= 0) {
    if (isUpperWhiteout(newParent, to, newName, tree.st2)) {
      // A directory does not replace a whiteout, but changes places with it: just what is needed if it must stay.
      const r = mutate.renameat2(from, name, to, newName, RENAME.EXCHANGE)
      return r < 0 || below ? r : mutate.unlinkat(from, name)
    }
  }
  let r = swapIn(tree, parent, from, name, to, newName, below)
  if ((r === -E.ENOTEMPTY || r === -E.EEXIST) && target !== null && target.upper !== Presence.None) {
    // It shows nothing but holds whiteouts: a truly empty one takes its place first.
    r = clearQuietly(tree, target, newParent, to, newName)
    if (r >= 0) r = swapIn(tree, parent, from, name, to, newName, below)
  }
  return r
}

function swapIn(
  tree: Tree,
  parent: Node,
  from: number,
  name: string,
  to: number,
  newName: string,
  below: boolean,
): number {
  if (!below) return mutate.renameat2(from, name, to, newName)
  if (tree.work?.whiteoutForm === 'device') {
    const r = mutate.renameat2(from, name, to, newName, RENAME.WHITEOUT)
    // NFS and the like do not know the flag.
    if (r !== -E.EINVAL) return r
  }
  const r = mutate.renameat2(from, name, to, newName)
  return r < 0 ? r : putWhiteout(tree, parent, from, name)
}

const parentSt = new Stat()

/** clearDirectory as a step that is not to be seen: should it be the last, the parent has the time it had. */
function clearQuietly(tree: Tree, node: Node, parent: Node, fd: number, name: string): number {
  let r = statat(fd, '', parentSt, AT.EMPTY_PATH)
  if (r >= 0) r = tree.owed?.owe(parent, parentSt) ?? 0
  if (r >= 0) r = clearDirectory(tree, node, fd, name)
  if (r < 0) return r
  restoreTimes(tree, parent, parentSt)
  return tree.owed?.settle(parent) ?? 0
}

/** Replaces an upper directory that shows nothing by a truly empty one that merges with nothing. */
function clearDirectory(tree: Tree, node: Node, fd: number, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const r = statUpper(tree, node, tree.st2)
  if (r < 0) return r
  const { uid, gid, mode } = tree.st2
  const temporary = work.name()
  let done = mutate.mkdirat(work.fd, temporary, 0o700)
  if (done >= 0) done = mutate.chownat(work.fd, temporary, uid, gid)
  if (done >= 0) done = mutate.chmodat(work.fd, temporary, mode & 0o7777)
  if (done >= 0) done = setOpaque(tree, work.fd, temporary)
  if (done >= 0) done = mutate.renameat2(work.fd, temporary, fd, name, RENAME.EXCHANGE)
  work.discard(temporary)
  return done
}

/** The node has its new name on disk: the tree follows. */
function renamed(tree: Tree, node: Node, parent: Node, name: string, newParent: Node, newName: string): void {
  noteRemoved(parent, name, node.type)
  tree.removeName(node, parent, name)
  tree.addName(node, newParent, newName)
  noteAdded(newParent, newName, node)
}

function exchange(tree: Tree, a: Node, aParent: Node, aName: string, b: Node, bParent: Node, bName: string): number {
  for (let n: Node | null = aParent; n !== null; n = n.parent) if (n === b) return -E.EINVAL
  let r = ready(tree, a, aParent, aName, bParent, bName)
  if (r >= 0) r = ready(tree, b, bParent, bName, aParent, aName)
  if (r >= 0) r = settleTimes(tree, a, b, aParent, bParent)
  if (r < 0) return r
  const from = directoryFd(tree, aParent)
  if (from < 0) return from
  const to = directoryFd(tree, bParent)
  if (to < 0) return to
  r = mutate.renameat2(from, aName, to, bName, RENAME.EXCHANGE)
  if (r < 0) return r
  noteRemoved(aParent, aName, a.type)
  noteRemoved(bParent, bName, b.type)
  tree.removeName(a, aParent, aName)
  tree.removeName(b, bParent, bName)
  tree.addName(a, bParent, bName)
  tree.addName(b, aParent, aName)
  noteAdded(bParent, bName, a)
  noteAdded(aParent, aName, b)
  return 0
}
