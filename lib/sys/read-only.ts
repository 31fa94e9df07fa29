/**
 * Owns the private read-only clone of a filesystem: what keeps lowers safe by the kernel and not by care.
 * By open_tree and mount_setattr (Linux 5.12); where the kernel has no such call, by a bind mount that is remounted
 * read-only, made in a mount namespace of its own by a child that shares this process's fds (clone3, Linux 5.3).
 * Invariant: no fd is returned through which anything could be written, or an access time moved.
 */
import { E } from '../errno.js'
import { Birth } from './birth.js'
import { AT, CLONE, MOUNT_ATTR, MS, O, OPEN_TREE } from './constants.js'
import { runErrand } from './errand.js'
import { close, openat } from './file.js'
import { mountSetattr, openTree } from './mount.js'
import { CALL } from './process.js'
import { fstatfs, StatFs } from './stat.js'

/**
 * A private read-only clone of the one filesystem at `path` (submounts are not in it): a write through it is EROFS, or
 * EIO through FUSE passthrough, and reading does not move atime. Returns the clone's fd or `-errno` (EINVAL in a user
 * namespace where submounts are locked; EPERM for who may not mount).
 */
export function readOnlyClone(path: string): number {
  const fd = openTree(AT.FDCWD, path, OPEN_TREE.CLONE)
  if (fd === -E.ENOSYS) return boundReadOnly(path)
  if (fd < 0) return fd
  let r = mountSetattr(fd, '', AT.EMPTY_PATH, MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOATIME, MOUNT_ATTR.ATIME_MASK)
  // A user namespace may not change what its mounts say of access times; read-only is enough to keep them still.
  if (r === -E.EPERM) r = mountSetattr(fd, '', AT.EMPTY_PATH, MOUNT_ATTR.RDONLY, 0)
  if (r === 0) return fd
  close(fd)
  return r === -E.ENOSYS ? boundReadOnly(path) : r
}

/** Where the child binds: the namespace is its own, and a directory that is there wherever FUSE is. */
const TARGET = '/dev'
/** What a user namespace inherits locked, and must be said again by a remount. Access times stay as they are unless said. */
const LOCKED = MS.NOSUID | MS.NODEV | MS.NOEXEC

/**
 * `readOnlyClone` for kernels that cannot change a detached mount. The fd keeps the mount when its namespace is gone: it
 * is in no tree any more, so nobody can make it writable again.
 */
function boundReadOnly(path: string): number {
  const fd = openat(AT.FDCWD, path, O.PATH | O.DIRECTORY)
  if (fd < 0) return fd
  const st = new StatFs()
  const r = fstatfs(fd, st)
  close(fd)
  if (r < 0) return r
  const child = new Birth()
  child.step('propagation', CALL.mount, [null, '/', null, MS.REC | MS.PRIVATE, null])
  child.step('bind', CALL.mount, [path, TARGET, null, MS.BIND, null])
  child.step('remount', CALL.mount, [null, TARGET, null, MS.REMOUNT | MS.BIND | MS.RDONLY | (st.flags & LOCKED), null])
  const opened = child.step('open', CALL.openat, [AT.FDCWD, TARGET, O.PATH | O.DIRECTORY | O.CLOEXEC, 0])
  child.step('end', CALL.exit_group, [0])
  const stopped = runErrand(child, { flags: CLONE.NEWNS | CLONE.FILES, handlers: true })
  return stopped === undefined ? (child.result(opened) ?? -E.EIO) : -stopped.errno
}
