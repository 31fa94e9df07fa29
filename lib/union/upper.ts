/**
 * Owns reaching an inode of the upper directory: by (fd of its directory, name), by its name in the hard-link index, or,
 * once it has no name, by the fd kept for it. Everything that touches the upper asks `locate` first.
 * Invariant: no path is walked from the upper's root, so depth and length of paths do not matter, and nobody's symlink
 * is followed.
 */
import { E } from '../errno.js'
import { applyOverride, overrideOf } from '../layer/override.js'
import { OVERRIDE_STAT } from '../layer/whiteout.js'
import { AT, O, S } from '../sys/constants.js'
import { readlinkat } from '../sys/dir.js'
import { close, openat } from '../sys/file.js'
import { Stat, statat } from '../sys/stat.js'
import { fgetxattr, flistxattr, getxattrat, listxattrat } from '../sys/xattr.js'
import { keptAside } from './aside.js'
import { setOrAside } from './marks.js'
import { mutate } from './mutate.js'
import type { Node } from './node.js'
import type { Tree } from './tree.js'

/** An O_PATH fd of an upper directory, opened from its nearest open ancestor; valid until the next call, or `-errno`. */
export function directoryFd(tree: Tree, node: Node): number {
  if (node === tree.root) return tree.upperFd
  const known = tree.directoryFds.get(node)
  if (known !== undefined) return known
  if (node.extra !== null && node.extra.fd >= 0) return node.extra.fd
  const way: Node[] = []
  let fd = -E.ENOENT
  for (let n: Node | null = node; n !== null; n = n.parent) {
    const open = n === tree.root ? tree.upperFd : tree.directoryFds.get(n)
    if (open !== undefined) {
      fd = open
      break
    }
    way.push(n)
  }
  for (let i = way.length - 1; i >= 0 && fd >= 0; i--) {
    const n = way[i] as Node
    fd = openat(fd, n.name, O.PATH | O.DIRECTORY | O.NOFOLLOW)
    if (fd >= 0) tree.directoryFds.set(n, fd)
  }
  return fd
}

/**
 * Where the upper inode of `node` is: the fd of its directory, with its name in `tree.name`; or an fd of the inode itself
 * with `tree.name` ''. `-errno` when it cannot be reached.
 */
export function locate(tree: Tree, node: Node): number {
  const extra = node.extra
  if (extra !== null) {
    if (extra.fd >= 0) {
      tree.name = ''
      return extra.fd
    }
    if (extra.index !== '' && tree.work !== null) {
      tree.name = extra.index
      return tree.work.indexFd
    }
  }
  if (node.parent === null) {
    tree.name = ''
    return node === tree.root ? tree.upperFd : -E.ENOENT
  }
  tree.name = node.name
  return directoryFd(tree, node.parent)
}

export function statUpper(tree: Tree, node: Node, st: Stat): number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  const r = tree.name === '' ? statat(fd, '', st, AT.EMPTY_PATH) : statat(fd, tree.name, st)
  if (r >= 0 && tree.work !== null && !tree.work.owners) applyOverride(st, overrideAt(tree, node, st))
  return r
}

/** The owner kept beside an upper inode, `st` being its stat: an attribute's value or `-errno`. */
function overrideAt(tree: Tree, node: Node, st: Stat): Buffer | number {
  const aside = tree.work?.aside ?? null
  return aside !== null && keptAside(st.mode) ? aside.get(st, OVERRIDE_STAT) : getxattrUpper(tree, node, OVERRIDE_STAT)
}

/** Opens the upper file itself; the final component is never followed. */
export function openUpper(tree: Tree, node: Node, flags: number): number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  if (tree.name === '') return mutate.openat(AT.FDCWD, self(fd), flags)
  return mutate.openat(fd, tree.name, flags | O.NOFOLLOW)
}

/** The name by which calls without AT_EMPTY_PATH reach an open inode, followed. */
export function self(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/** A readable fd of a nameless regular file. Opening another type could have effects of its own (devices, FIFOs). */
function reopen(node: Node, fd: number): number {
  return node.type === S.IFREG ? openat(AT.FDCWD, self(fd), O.RDONLY) : -E.EOPNOTSUPP
}

export function chmodUpper(tree: Tree, node: Node, mode: number): number {
  if (keepsOwner(tree, node)) {
    const r = override(tree, node, -1, -1, mode)
    if (r < 0) return r
  }
  const fd = locate(tree, node)
  if (fd < 0) return fd
  return tree.name === '' ? mutate.chmodat(AT.FDCWD, self(fd), mode) : mutate.chmodat(fd, tree.name, mode)
}

/** Changes owner and group; 0xffffffff and -1 leave an id as it is. */
export function chownUpper(tree: Tree, node: Node, uid: number, gid: number): number {
  // What is kept beside is what is shown, so it is what has to change, also back to an owner that the file could have.
  if (keepsOwner(tree, node)) return overrideOwner(tree, node, uid, gid)
  const fd = locate(tree, node)
  if (fd < 0) return fd
  const r =
    tree.name === ''
      ? mutate.chownat(fd, '', uid, gid, AT.EMPTY_PATH)
      : mutate.chownat(fd, tree.name, uid, gid, AT.SYMLINK_NOFOLLOW)
  if (r >= 0 || tree.work === null || tree.work.owners || (r !== -E.EINVAL && r !== -E.EPERM)) return r
  return overrideOwner(tree, node, uid, gid)
}

function overrideOwner(tree: Tree, node: Node, uid: number, gid: number): number {
  return override(tree, node, uid === 0xffffffff ? -1 : uid, gid === 0xffffffff ? -1 : gid, -1)
}

const kept = new Stat()

/** Whether an upper inode's owner is kept beside it. */
function keepsOwner(tree: Tree, node: Node): boolean {
  if (tree.work === null || tree.work.owners) return false
  const fd = locate(tree, node)
  if (fd < 0 || statat(fd, tree.name, kept, tree.name === '' ? AT.EMPTY_PATH : AT.SYMLINK_NOFOLLOW) < 0) return false
  return typeof overrideAt(tree, node, kept) !== 'number'
}

/** Keeps another owner or mode (-1: as it is) beside an upper inode that cannot have it. */
function override(tree: Tree, node: Node, uid: number, gid: number, mode: number): number {
  const r = statUpper(tree, node, kept)
  if (r < 0) return r
  if (uid >= 0) kept.uid = uid
  if (gid >= 0) kept.gid = gid
  if (mode >= 0) kept.mode = (kept.mode & S.IFMT) | mode
  // As chown(2) does on every filesystem.
  else if (node.type === S.IFREG) kept.mode &= ~(S.ISUID | ((kept.mode & 0o010) === 0 ? 0 : S.ISGID))
  const fd = keptAside(kept.mode) ? locate(tree, node) : -1
  if (fd >= 0 && tree.name !== '') return setOrAside(tree, fd, tree.name, OVERRIDE_STAT, overrideOf(kept))
  return setxattrUpper(tree, node, OVERRIDE_STAT, overrideOf(kept), 0)
}

export function utimesUpper(
  tree: Tree,
  node: Node,
  atime: number,
  atimeNs: number,
  mtime: number,
  mtimeNs: number,
): number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  return tree.name === ''
    ? mutate.utimensat(AT.FDCWD, self(fd), atime, atimeNs, mtime, mtimeNs, 0)
    : mutate.utimensat(fd, tree.name, atime, atimeNs, mtime, mtimeNs, AT.SYMLINK_NOFOLLOW)
}

export function getxattrUpper(tree: Tree, node: Node, name: string): Buffer | number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  if (tree.name !== '' || node.dir !== null) return getxattrat(fd, tree.name, name)
  const open = reopen(node, fd)
  if (open < 0) return -E.ENODATA
  const r = fgetxattr(open, name)
  close(open)
  return r
}

export function listxattrUpper(tree: Tree, node: Node): string[] | number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  if (tree.name !== '' || node.dir !== null) return listxattrat(fd, tree.name)
  const open = reopen(node, fd)
  if (open < 0) return []
  const r = flistxattr(open)
  close(open)
  return r
}

export function setxattrUpper(tree: Tree, node: Node, name: string, value: Buffer, flags: number): number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  if (tree.name !== '' || node.dir !== null) return mutate.setxattrat(fd, tree.name, name, value, flags)
  const open = reopen(node, fd)
  if (open < 0) return open
  const r = mutate.fsetxattr(open, name, value, flags)
  close(open)
  return r
}

export function removexattrUpper(tree: Tree, node: Node, name: string): number {
  const fd = locate(tree, node)
  if (fd < 0) return fd
  if (tree.name !== '' || node.dir !== null) return mutate.removexattrat(fd, tree.name, name)
  const open = reopen(node, fd)
  if (open < 0) return open
  const r = mutate.fremovexattr(open, name)
  close(open)
  return r
}

export function readlinkUpper(tree: Tree, node: Node): string | number {
  const fd = locate(tree, node)
  return fd < 0 ? fd : readlinkat(fd, tree.name)
}

/** Gives an upper directory back the times it had: copying a child up changes nothing in the merged view. */
export function restoreTimes(tree: Tree, node: Node, st: Stat): void {
  const fd = locate(tree, node)
  if (fd < 0) return
  if (tree.name === '') mutate.utimensat(AT.FDCWD, self(fd), st.atime, st.atimeNs, st.mtime, st.mtimeNs, 0)
  else mutate.utimensat(fd, tree.name, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
}
