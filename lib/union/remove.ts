/**
 * Owns removing names: unlink and rmdir. What the lowers have under the name gets a whiteout; what only the upper has goes.
 * A removed inode that the kernel still knows (open, mapped, a current directory) is kept reachable by an fd.
 * Invariant: one rename or one unlink makes the name vanish; at no instant does what is below show.
 */
import { E } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import type { Stat } from '../sys/stat.js'
import { isDeviceWhiteout } from '../layer/whiteout.js'
import { keptAside } from './aside.js'
import { copyUp, copyUpDirectory } from './copy-up.js'
import { holdOffset, leaveIndex, linkUp } from './hard-links.js'
import { isEmpty } from './list.js'
import { noteRemoved } from './listing.js'
import { lookup } from './lookup.js'
import { mutate } from './mutate.js'
import { DirKind, extraOf, type Node, Presence } from './node.js'
import { refuseRemoval } from './protect.js'
import type { Tree } from './tree.js'
import { directoryFd, statUpper } from './upper.js'
import { moveAway, putWhiteout, replaceDirectoryWithWhiteout, replaceWithWhiteout } from './whiteouts.js'

/** Whether the lowers of a directory show something under `name`, so that hiding it takes a whiteout. */
export function lowerHas(tree: Tree, parent: Node, name: string, st: Stat): boolean {
  const dir = parent.dir
  if (dir === null) return false
  for (const ref of dir.lowers) {
    const layer = tree.layer(ref.layer)
    const found = layer.lookup(ref.node, name, st)
    if (found < 0) continue
    const whiteout = isDeviceWhiteout(st)
    layer.release(found)
    return !whiteout
  }
  return false
}

/** Whether what the upper has under `name` hides something in the lowers: its removal takes a whiteout. */
export function coversLower(tree: Tree, parent: Node, name: string): boolean {
  const dir = parent.dir
  if (dir === null || dir.kind !== DirKind.Merged) return false
  return dir.listing?.isOnlyUpper(name) !== true && lowerHas(tree, parent, name, tree.st2)
}

/**
 * Brings what is to lose or change its name into the upper as far as that takes: a lower file with several names must be in
 * the index, for its count. Returns 0, PENDING or `-errno`.
 */
export function readyToUnname(tree: Tree, node: Node, parent: Node, name: string): number {
  if (node.dir !== null || tree.linked.get(node.ino) !== node) return 0
  if (node.upper === Presence.None) {
    const r = copyUp(tree, node, Presence.Meta)
    if (r < 0) return r
  }
  const r = linkUp(tree, node, parent, name)
  return r < 0 ? r : holdOffset(tree, node)
}

/** Keeps an inode whose last known name is about to go reachable, if somebody may still ask for it. */
export function keep(tree: Tree, node: Node, parent: Node, name: string): void {
  const wanted = node.lookups > 0 || (node.extra !== null && node.extra.predecessors > 0)
  if (node.upper === Presence.None || !wanted || tree.hasOtherName(node, parent, name)) return
  const extra = extraOf(node)
  if (extra.fd >= 0) return
  const at = directoryFd(tree, parent)
  if (at < 0) return
  const fd = openat(at, name, O.PATH | O.NOFOLLOW)
  if (fd >= 0) extra.fd = fd
}

/** Undoes `keep` when the removal failed. */
export function unkeep(node: Node): void {
  const { extra } = node
  if (extra === null || extra.fd < 0 || node.parent === null) return
  close(extra.fd)
  extra.fd = -1
}

/** After the name is gone from disk: the node loses it, and the index its entry if that was the last. */
export function lost(tree: Tree, node: Node, parent: Node, name: string): void {
  noteRemoved(parent, name, node.type)
  leaveIndex(tree, node)
  if (node.dir !== null) {
    tree.directoryFds.delete(node)
    tree.listings.delete(node)
  }
  tree.removeName(node, parent, name)
  forgetAside(tree, node)
  if (node.parent === null && tree.linked.get(node.ino) === node) {
    // Without a link left the number may be given to a new file at once.
    if (statUpper(tree, node, tree.st2) < 0 || tree.st2.nlink === 0 || gone(tree, node)) tree.linked.delete(node.ino)
  }
  tree.collect(node)
}

/** What was kept aside for an inode goes with its last name. */
function forgetAside(tree: Tree, node: Node): void {
  const aside = tree.work?.aside ?? null
  if (aside === null || !keptAside(node.type) || node.upper === Presence.None || node.parent !== null) return
  if (statUpper(tree, node, tree.st2) >= 0 && tree.st2.nlink === 0) aside.forget(tree.st2.ino)
}

function gone(tree: Tree, node: Node): boolean {
  return node.extra !== null && node.extra.index !== '' && tree.st2.nlink + node.extra.nlinkOffset <= 0
}

export function unlink(tree: Tree, parent: Node, name: string): number {
  if (tree.work === null) return -E.EROFS
  const node = lookup(tree, parent, name, tree.st)
  if (typeof node === 'number') return node
  if (node.dir !== null) return -E.EISDIR
  let r = refuseRemoval(parent, node)
  if (r >= 0) r = copyUpDirectory(tree, parent)
  if (r >= 0) r = readyToUnname(tree, node, parent, name)
  if (r >= 0) r = tree.owed?.settle(parent) ?? 0
  const fd = r < 0 ? r : directoryFd(tree, parent)
  if (fd < 0) {
    tree.collect(node)
    return fd
  }
  keep(tree, node, parent, name)
  if (node.upper === Presence.None) r = putWhiteout(tree, parent, fd, name)
  else if (coversLower(tree, parent, name)) r = replaceWithWhiteout(tree, parent, fd, name)
  else r = mutate.unlinkat(fd, name)
  if (r < 0) {
    unkeep(node)
    tree.collect(node)
    return r
  }
  lost(tree, node, parent, name)
  return 0
}

export function rmdir(tree: Tree, parent: Node, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const node = lookup(tree, parent, name, tree.st)
  if (typeof node === 'number') return node
  if (node.dir === null) return -E.ENOTDIR
  // An upper directory without lowers knows itself whether it is empty.
  const plain = node.dir.kind === DirKind.Pure
  let r = refuseRemoval(parent, node)
  if (r >= 0) r = plain ? 1 : isEmpty(tree, node)
  if (r === 0) r = -E.ENOTEMPTY
  if (r >= 0) r = copyUpDirectory(tree, parent)
  if (r >= 0) r = tree.owed?.settle(parent) ?? 0
  const fd = r < 0 ? r : directoryFd(tree, parent)
  if (fd < 0) {
    tree.collect(node)
    return fd
  }
  keep(tree, node, parent, name)
  const below = coversLower(tree, parent, name)
  r = removeDirectory(tree, node, parent, fd, name, below)
  if (r < 0) {
    unkeep(node)
    tree.collect(node)
    return r
  }
  lost(tree, node, parent, name)
  return 0
}

function removeDirectory(tree: Tree, node: Node, parent: Node, fd: number, name: string, below: boolean): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  if (node.upper === Presence.None) return putWhiteout(tree, parent, fd, name)
  if (below) {
    const r = node.dir?.kind === DirKind.Pure ? isEmpty(tree, node) : 1
    if (r <= 0) return r === 0 ? -E.ENOTEMPTY : r
    return replaceDirectoryWithWhiteout(tree, parent, fd, name)
  }
  const r = mutate.rmdirat(fd, name)
  if (r !== -E.ENOTEMPTY && r !== -E.EEXIST) return r
  // It may hold nothing but whiteouts.
  const empty = isEmpty(tree, node)
  if (empty <= 0) return empty === 0 ? -E.ENOTEMPTY : empty
  return moveAway(tree, fd, name, work.name())
}
