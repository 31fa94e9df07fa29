/**
 * Owns copy-up: bringing an inode into the upper before it is changed.
 * - Everything is made in the work directory (data, owner, xattrs, mode, times, in this order: chown clears suid, a write
 *   clears capabilities, an ACL changes the mode) and appears in the upper by one rename. Before it, nothing is seen; after
 *   it, all is. Data is on disk before the rename, unless the mount is volatile.
 * - Parents come first. A directory comes empty: its entries stay in the lowers and merge.
 * - Metadata-only copies (overlayfs's metacopy): a file of the right size without blocks, marked; the data follows when
 *   somebody writes: in a whole copy that takes its place, or, where it has several names, into the same inode, and
 *   removing the mark is what makes it count.
 * - The parent's times are given back: the merged directory did not change (owed-times.ts).
 * - Long copies go to another thread (`host.defer`) and the caller returns PENDING.
 */
import { E } from '../errno.js'
import type { Layer } from '../layer/layer.js'
import { overrideOf } from '../layer/override.js'
import { OVERRIDE_STAT, storedName } from '../layer/whiteout.js'
import { AT, O, S } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { Stat, statat } from '../sys/stat.js'
import { completeData } from './complete-copy.js'
import { copyData, emptyCopy, setTimes, temporary } from './copy-data.js'
import { enterIndex, holdOffset } from './hard-links.js'
import { noteCopiedUp } from './listing.js'
import { setImpure, setMark, setOrAside } from './marks.js'
import { mutate } from './mutate.js'
import { DirKind, extraOf, type Node, Presence } from './node.js'
import { PROTECTED, protectionText } from './protect.js'
import { lowerPath } from './redirect.js'
import { settled } from './partial.js'
import type { Tree } from './tree.js'
import { directoryFd, restoreTimes } from './upper.js'

const NOTHING = Buffer.alloc(0)

const parentSt = new Stat()
const sourceSt = new Stat()

/**
 * Brings `node` into the upper at least as far as `want`. `size`: only the first so many bytes of data are needed, because
 * the caller truncates. Returns 0, PENDING, or `-errno` (EROFS without an upper).
 */
export function copyUp(tree: Tree, node: Node, want: Presence, size = Infinity): number {
  if (node.upper >= want) return 0
  if (tree.work === null) return -E.EROFS
  if (node.dir !== null) return copyUpDirectory(tree, node)
  if (node.extra !== null && node.extra.partial !== null) return settled(tree, node)
  if (node.upper === Presence.Meta) return completeData(tree, node, size)
  if (node.parent === null) return copyUpNameless(tree, node, size)
  const parents = copyUpDirectory(tree, node.parent)
  if (parents < 0) return parents
  if (node.type !== S.IFREG) return copyUpSpecial(tree, node)
  return copyUpFile(tree, node, want, size)
}

/** Makes sure that a directory and all above it are in the upper. Returns 0 or `-errno`. */
export function copyUpDirectory(tree: Tree, node: Node): number {
  if (node.upper !== Presence.None) return 0
  if (tree.work === null) return -E.EROFS
  const way: Node[] = []
  for (let n: Node | null = node; n !== null && n.upper === Presence.None; n = n.parent) way.push(n)
  for (let i = way.length - 1; i >= 0; i--) {
    const r = copyUpOneDirectory(tree, way[i] as Node)
    if (r < 0) return r
  }
  return 0
}

function copyUpOneDirectory(tree: Tree, node: Node): number {
  const { work } = tree
  const { dir, parent } = node
  const top = dir?.lowers[0]
  if (work === null || dir === null || top === undefined || parent === null) return -E.ENOENT
  const layer = tree.layer(top.layer)
  let r = layer.stat(top.node, sourceSt)
  if (r < 0) return r
  const st = sourceSt
  const name = work.name()
  r = mutate.mkdirat(work.fd, name, 0o700)
  if (r < 0) return r
  r = copyMetadata(tree, layer, top.node, name, st)
  if (r >= 0) r = tree.origins.write(work.fd, name, top.layer, top.node, node.ino)
  if (r >= 0) r = mutate.utimensat(work.fd, name, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
  if (r >= 0) r = place(tree, node, name)
  if (r < 0) {
    work.discard(name)
    return r
  }
  node.upper = Presence.Full
  dir.kind = DirKind.Merged
  if (dir.subdirs < 0 && dir.lowers.length === 1 && st.nlink >= 2) dir.subdirs = st.nlink - 2
  return 0
}

/** Owner, extended attributes and mode of a lower object onto `name` in the work directory. */
function copyMetadata(tree: Tree, layer: Layer, from: number, name: string, st: Stat): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  let r = ownedCopy(tree, mutate.chownat(work.fd, name, st.uid, st.gid))
  if (r === KEEP_ASIDE) {
    r = setOrAside(tree, work.fd, name, OVERRIDE_STAT, overrideOf(st))
  }
  if (r < 0) return r
  r = copyXattrs(tree, layer, from, work.fd, name)
  if (r >= 0 && (st.attributes & PROTECTED) !== 0)
    r = setMark(tree, work.fd, name, 'protattr', protectionText(st.attributes))
  if (r < 0) return r
  return (st.mode & S.IFMT) === S.IFLNK ? 0 : mutate.chmodat(work.fd, name, st.mode & 0o7777)
}

function copyXattrs(tree: Tree, layer: Layer, from: number, fd: number, name: string): number {
  const names = layer.listxattr(from)
  if (typeof names === 'number') return names === -E.EOPNOTSUPP ? 0 : names
  for (const xattr of names) {
    const value = layer.getxattr(from, xattr)
    if (typeof value === 'number') {
      if (value === -E.ENODATA) continue
      return value
    }
    const r = tolerable(tree, xattr, mutate.setxattrat(fd, name, storedName(xattr), value))
    if (r < 0) return r
  }
  return 0
}

/**
 * Gives a finished copy its name in the upper directory of its parent, which keeps its times. `file` is the copy's fd, which counts
 * where it has no name in the work directory (`temporary` is '').
 */
function place(tree: Tree, node: Node, temporary: string, file = -1): number {
  const { work } = tree
  const { parent } = node
  if (work === null || parent === null) return -E.EROFS
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  let r = statat(fd, '', parentSt, AT.EMPTY_PATH)
  if (r < 0) return r
  if (parent.dir !== null && !parent.dir.impure) {
    r = setImpure(tree, fd, '')
    if (r < 0) return r
    parent.dir.impure = true
  }
  r = tree.owed?.owe(parent, parentSt) ?? 0
  if (r >= 0)
    r = temporary === '' ? mutate.linkFd(file, fd, node.name) : mutate.renameat2(work.fd, temporary, fd, node.name)
  if (r < 0) return r
  noteCopiedUp(parent, node.name)
  restoreTimes(tree, parent, parentSt)
  return 0
}

function copyUpSpecial(tree: Tree, node: Node): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const layer = tree.layer(node.layer)
  const st = sourceSt
  let r = layer.stat(node.lower, st)
  if (r < 0) return r
  const name = work.name()
  if (node.type === S.IFLNK) {
    const target = layer.readlink(node.lower)
    if (typeof target === 'number') return target
    r = mutate.symlinkat(target, work.fd, name)
  } else r = mutate.mknodat(work.fd, name, node.type | 0o600, st.rdev)
  if (r < 0) return r
  return finishSpecial(tree, node, name, st)
}

function copyUpFile(tree: Tree, node: Node, want: Presence, limit: number): number {
  const r = statSource(tree, node)
  if (r < 0) return r
  const size = Math.min(limit, sourceSt.size)
  // While the data is being copied already, everybody waits for it.
  const busy = node.extra !== null && node.extra.copy !== null
  const meta = !busy && want === Presence.Meta && tree.metacopy && sourceSt.size > 0
  // What has several names goes by a name: that is what the index links.
  const fd = meta || size === 0 ? emptyCopy(tree) : copyData(tree, node, size, sourceSt.nlink === 1)
  if (fd < 0) return fd
  const done = finishFile(tree, node, fd, meta, limit < sourceSt.size)
  close(fd)
  return done
}

/** The attributes of a file that is not in the upper, in `sourceSt`. */
function statSource(tree: Tree, node: Node): number {
  const face = node.extra?.face ?? null
  if (face === null) return tree.layer(node.layer).stat(node.lower, sourceSt)
  return tree.layer(face.layer).stat(face.node, sourceSt)
}

/** Everything but the data onto a copy (`fd`, called `temporary`), the index entry of a hard-linked one, and its name. */
function finishFile(tree: Tree, node: Node, fd: number, meta: boolean, cut: boolean): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const st = sourceSt
  const name = temporary
  let r = meta ? mutate.ftruncate(fd, st.size) : 0
  if (r >= 0) r = dressFile(tree, node, fd, st)
  if (r >= 0 && meta) r = mutate.fsetxattr(fd, `${tree.xattrPrefix}metacopy`, NOTHING)
  if (r >= 0 && meta) r = pointToData(tree, node, fd)
  if (r >= 0) r = tree.origins.writeTo(fd, faceLayer(node), faceNode(node), node.ino)
  if (r >= 0) r = setTimes(fd, st, cut)
  return settle(tree, node, name, st, meta ? Presence.Meta : Presence.Full, r, fd)
}

function faceLayer(node: Node): number {
  return node.extra?.face?.layer ?? node.layer
}

function faceNode(node: Node): number {
  return node.extra?.face?.node ?? node.lower
}

const KEEP_ASIDE = 1

/** What giving a copy to its owner came to: 0, `-errno`, or KEEP_ASIDE where the owner is to be kept in an attribute. */
function ownedCopy(tree: Tree, chowned: number): number {
  const refused = chowned === -E.EINVAL || chowned === -E.EPERM
  return refused && tree.work !== null && !tree.work.owners ? KEEP_ASIDE : chowned
}

/** Owner, extended attributes, mode: in this order. */
function dressFile(tree: Tree, node: Node, fd: number, st: Stat): number {
  let r = ownedCopy(tree, mutate.chownat(fd, '', st.uid, st.gid, AT.EMPTY_PATH))
  if (r === KEEP_ASIDE) r = mutate.fsetxattr(fd, OVERRIDE_STAT, overrideOf(st))
  if (r < 0) return r
  const layer = tree.layer(faceLayer(node))
  const names = layer.listxattr(faceNode(node))
  if (typeof names === 'number') r = names === -E.EOPNOTSUPP ? 0 : names
  else {
    for (let i = 0; i < names.length && r >= 0; i++) {
      const name = names[i] as string
      const value = layer.getxattr(faceNode(node), name)
      if (typeof value !== 'number') r = tolerable(tree, name, mutate.fsetxattr(fd, storedName(name), value))
    }
  }
  if (r >= 0 && (st.attributes & PROTECTED) !== 0)
    r = mutate.fsetxattr(fd, `${tree.xattrPrefix}protattr`, protectionText(st.attributes))
  return r < 0 ? r : mutate.fchmod(fd, st.mode & 0o7777)
}

/**
 * An ACL or a label that the upper's filesystem cannot hold at all is left behind, as the kernel's overlayfs does; so is, in
 * a user namespace, what only the machine's root may set, and only it may see.
 */
function tolerable(tree: Tree, name: string, r: number): number {
  if (r === -E.EOPNOTSUPP) return 0
  return r === -E.EPERM && tree.xattrPrefix === 'user.overlay.' && /^(trusted|security)\./.test(name) ? 0 : r
}

/** A metacopy whose data is not under its own name in the lowers says where. */
function pointToData(tree: Tree, node: Node, fd: number): number {
  if (node.extra === null) return 0
  if (node.extra.index === '' && (node.extra.names?.length ?? 0) === 0) return 0
  const path = lowerPath(node)
  return path === null ? 0 : mutate.fsetxattr(fd, `${tree.xattrPrefix}redirect`, Buffer.from(path, 'latin1'))
}

/** Metadata onto a copy that is no regular file, and its name. */
function finishSpecial(tree: Tree, node: Node, name: string, st: Stat): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  let r = copyMetadata(tree, tree.layer(node.layer), node.lower, name, st)
  if (r >= 0) r = tree.origins.write(work.fd, name, node.layer, node.lower, node.ino)
  if (r >= 0) r = mutate.utimensat(work.fd, name, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
  return settle(tree, node, name, st, Presence.Full, r)
}

/** The last steps of a copy, when what came before went well (`r`); else, or if they fail, it is as if nothing was done. */
function settle(tree: Tree, node: Node, name: string, st: Stat, presence: Presence, before: number, file = -1): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  let r = before
  const indexed = st.nlink > 1
  if (r >= 0 && indexed) r = enterIndex(tree, node, name, st.nlink)
  if (r >= 0) r = place(tree, node, name, file)
  if (r < 0) {
    if (node.extra !== null && node.extra.index !== '') {
      mutate.unlinkat(work.indexFd, node.extra.index)
      node.extra.index = ''
      node.extra.nlinkOffset = 0
    }
    work.discard(name)
    return r
  }
  node.upper = presence
  return indexed ? holdOffset(tree, node) : 0
}

/** A removed lower file that is still open gets a copy without a name, for as long as it is used. */
function copyUpNameless(tree: Tree, node: Node, limit: number): number {
  if (tree.work === null) return -E.EROFS
  if (node.type !== S.IFREG) return -E.ENOENT
  let r = statSource(tree, node)
  if (r < 0) return r
  const size = Math.min(limit, sourceSt.size)
  const fd = size > 0 ? copyData(tree, node, size) : emptyCopy(tree)
  if (fd < 0) return fd
  const name = temporary
  r = dressFile(tree, node, fd, sourceSt)
  const { atime, atimeNs, mtime, mtimeNs } = sourceSt
  if (r >= 0) r = mutate.futimens(fd, atime, atimeNs, mtime, mtimeNs)
  close(fd)
  const path = r < 0 ? r : openat(tree.work.fd, name, O.PATH | O.NOFOLLOW)
  tree.work.discard(name)
  if (path < 0) return path
  extraOf(node).fd = path
  node.upper = Presence.Full
  return 0
}
