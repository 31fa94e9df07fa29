/**
 * Owns `DirectoryVfs`: Vfs by system calls below a directory of this host, be it a plain directory or a mount.
 * Invariant: every call is relative to the root's fd, so a mount is used and never the directory under it.
 */
import { check, E } from '../../lib/errno.js'
import { AT, O, RENAME } from '../../lib/sys/constants.js'
import {
  linkat,
  linkFd,
  mkdirat,
  mknodat,
  readlinkat,
  renameat2,
  rmdirat,
  symlinkat,
  unlinkat,
} from '../../lib/sys/dir.js'
import * as file from '../../lib/sys/file.js'
import { setFsIdentity } from '../../lib/sys/credentials.js'
import { addressOf, alloc, cpath, libc, ret } from '../../lib/sys/libc.js'
import {
  chmodat,
  chownat,
  fchmod,
  fstat,
  fstatfs,
  statat,
  utimensat,
  type Stat,
  type StatFs,
} from '../../lib/sys/stat.js'
import { getxattrat, listxattrat, removexattrat, setxattrat } from '../../lib/sys/xattr.js'
import { ROOT_USER, type Dirent, type Vfs, type Who } from './vfs.js'

const c = {
  getdents: libc.func('intptr_t getdents64(int fd, uintptr_t buf, size_t n)'),
  // A directory's offsets are 63-bit hashes on ext4: numbers would round them.
  lseek: libc.func('int64_t lseek64(int fd, int64_t off, int whence)'),
  truncate: libc.func('int truncate64(uintptr_t path, int64_t n)'),
}
const listing = alloc(1 << 20)
const listingAddress = addressOf(listing)
const name = (path: string): string => (path === '' ? '.' : path)

export class DirectoryVfs implements Vfs {
  #root = -1
  readonly #open = new Set<number>()

  constructor(root: string) {
    this.attach(root)
  }

  /** Modes are the test's: this process has no umask, but in `as`. */
  static {
    process.umask(0)
  }

  /** Goes on with the directory `root`, after `detach`. */
  attach(root: string): void {
    this.#root = check(file.open(root, O.PATH | O.DIRECTORY), 'open', root)
  }

  /** Closes the root and every handle the test left open, so that a mount can be taken down. */
  detach(): void {
    for (const fd of this.#open) file.close(fd)
    this.#open.clear()
    file.close(this.#root)
    this.#root = -1
  }

  as<T>(who: Who, run: () => T): T {
    const umask = process.umask(who.umask)
    check(setFsIdentity(who.uid, who.gid, who.groups), 'setfsuid')
    try {
      return run()
    } finally {
      check(setFsIdentity(ROOT_USER.uid, ROOT_USER.gid, []), 'setfsuid')
      process.umask(umask)
    }
  }

  stat(path: string, st: Stat): number {
    return statat(this.#root, name(path), st)
  }

  fstat(fd: number, st: Stat): number {
    return fstat(fd, st)
  }

  statfs(st: StatFs): number {
    return fstatfs(this.#root, st)
  }

  readlink(path: string): string | number {
    return readlinkat(this.#root, name(path))
  }

  open(path: string, flags: number, mode = 0): number {
    const fd = file.openat(this.#root, name(path), flags, mode)
    if (fd >= 0) this.#open.add(fd)
    return fd
  }

  close(fd: number): void {
    this.#open.delete(fd)
    file.close(fd)
  }

  pread(fd: number, size: number, position: number): Buffer | number {
    const buffer = alloc(size)
    const n = file.pread(fd, buffer, position)
    return n < 0 ? n : buffer.subarray(0, n)
  }

  pwrite(fd: number, data: Buffer, position: number): number {
    return file.pwrite(fd, data, position)
  }

  write(fd: number, data: Buffer): number {
    return file.writeAt(fd, addressOf(data), data.length)
  }

  ftruncate(fd: number, length: number): number {
    return file.ftruncate(fd, length)
  }

  truncate(path: string, length: number): number {
    return ret(c.truncate(cpath(`/proc/self/fd/${this.#root}/${path}`), length) as number)
  }

  fallocate(fd: number, mode: number, offset: number, length: number): number {
    return file.fallocate(fd, mode, offset, length)
  }

  seek(fd: number, offset: number, whence: number): number {
    return file.lseek(fd, offset, whence)
  }

  copyRange(from: number, fromAt: number, to: number, toAt: number, length: number): number {
    return file.copyFileRange(from, fromAt, to, toAt, length)
  }

  fsync(fd: number): number {
    return file.fsync(fd)
  }

  mkdir(path: string, mode: number): number {
    return mkdirat(this.#root, name(path), mode)
  }

  mknod(path: string, mode: number, rdev: number): number {
    return mknodat(this.#root, name(path), mode, rdev)
  }

  symlink(target: string, path: string): number {
    return symlinkat(target, this.#root, name(path))
  }

  link(path: string, newPath: string): number {
    return linkat(this.#root, name(path), this.#root, name(newPath))
  }

  linkFd(fd: number, newPath: string): number {
    return linkFd(fd, this.#root, name(newPath))
  }

  unlink(path: string): number {
    return unlinkat(this.#root, name(path))
  }

  rmdir(path: string): number {
    return rmdirat(this.#root, name(path))
  }

  rename(path: string, newPath: string, flags = 0): number {
    // RENAME_WHITEOUT is for filesystems' own use: the oracle would leave a device node where the union leaves nothing.
    if ((flags & RENAME.WHITEOUT) !== 0) return -E.EINVAL
    return renameat2(this.#root, name(path), this.#root, name(newPath), flags)
  }

  chmod(path: string, mode: number): number {
    return chmodat(this.#root, name(path), mode)
  }

  fchmod(fd: number, mode: number): number {
    return fchmod(fd, mode)
  }

  chown(path: string, uid: number, gid: number): number {
    return chownat(this.#root, name(path), uid, gid)
  }

  fchown(fd: number, uid: number, gid: number): number {
    return chownat(fd, '', uid, gid, AT.EMPTY_PATH)
  }

  utimens(path: string, atime: number, atimeNs: number, mtime: number, mtimeNs: number): number {
    return utimensat(this.#root, name(path), atime, atimeNs, mtime, mtimeNs)
  }

  getxattr(path: string, attribute: string): Buffer | number {
    return getxattrat(this.#root, path, attribute)
  }

  setxattr(path: string, attribute: string, value: Buffer, flags = 0): number {
    return setxattrat(this.#root, path, attribute, value, flags)
  }

  listxattr(path: string): string[] | number {
    return listxattrat(this.#root, path)
  }

  removexattr(path: string, attribute: string): number {
    return removexattrat(this.#root, path, attribute)
  }

  opendir(path: string): number {
    return this.open(path, O.RDONLY | O.DIRECTORY)
  }

  readdir(dir: number, offset: bigint, bytes: number): Dirent[] | number {
    const at = ret(Number(c.lseek(dir, offset, 0)))
    if (at < 0) return at
    const n = ret(c.getdents(dir, listingAddress, Math.min(bytes, listing.length)) as number)
    if (n < 0) return n
    const entries: Dirent[] = []
    for (let p = 0; p < n; p += listing.readUInt16LE(p + 16)) {
      const end = listing.indexOf(0, p + 19)
      entries.push({
        name: listing.latin1Slice(p + 19, end),
        type: listing[p + 18] ?? 0,
        ino: listing.readUInt32LE(p + 4) * 0x100000000 + listing.readUInt32LE(p),
        offset: listing.readBigInt64LE(p + 8),
      })
    }
    return entries
  }

  closedir(dir: number): void {
    this.close(dir)
  }
}
