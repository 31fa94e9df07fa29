/**
 * Owns the calls a test makes: `Vfs`, a path-based, synchronous view of one tree, as a process has it.
 * Formats: paths are byte strings relative to the tree's root (`''` is the root itself); results are `>= 0`, a value, or
 * `-errno`; nothing throws. Handles are numbers >= 0 of this Vfs alone.
 */
import type { Stat, StatFs } from '../../lib/sys/stat.js'

/** Whose accesses they are. */
export interface Who {
  uid: number
  gid: number
  groups: readonly number[]
  umask: number
}

export const ROOT_USER: Who = { uid: 0, gid: 0, groups: [], umask: 0 }
/** A user without any privilege. */
export const ALICE: Who = { uid: 1001, gid: 1001, groups: [], umask: 0 }
export const BOB: Who = { uid: 1002, gid: 1002, groups: [2000], umask: 0 }

/** One entry as a listing gives it; `offset` is where the listing goes on after it. */
export interface Dirent {
  name: string
  type: number
  ino: number
  offset: bigint
}

export interface Vfs {
  /** Makes the calls of `run` as `who`. */
  as<T>(who: Who, run: () => T): T

  /** lstat. */
  stat(path: string, st: Stat): number
  fstat(fd: number, st: Stat): number
  statfs(st: StatFs): number
  readlink(path: string): string | number

  /** open(2); flags of lib/sys/constants O, O.TMPFILE too (path is then the directory). */
  open(path: string, flags: number, mode?: number): number
  close(fd: number): void
  pread(fd: number, size: number, position: number): Buffer | number
  pwrite(fd: number, data: Buffer, position: number): number
  /** write(2) at the file position (at the end with O_APPEND). */
  write(fd: number, data: Buffer): number
  ftruncate(fd: number, length: number): number
  truncate(path: string, length: number): number
  fallocate(fd: number, mode: number, offset: number, length: number): number
  /** SEEK_DATA, SEEK_HOLE. */
  seek(fd: number, offset: number, whence: number): number
  copyRange(from: number, fromAt: number, to: number, toAt: number, length: number): number
  fsync(fd: number): number

  mkdir(path: string, mode: number): number
  mknod(path: string, mode: number, rdev: number): number
  symlink(target: string, path: string): number
  link(path: string, newPath: string): number
  /** linkat of an open file. */
  linkFd(fd: number, newPath: string): number
  unlink(path: string): number
  rmdir(path: string): number
  rename(path: string, newPath: string, flags?: number): number

  chmod(path: string, mode: number): number
  fchmod(fd: number, mode: number): number
  /** lchown; -1 leaves an id as it is. */
  chown(path: string, uid: number, gid: number): number
  fchown(fd: number, uid: number, gid: number): number
  /** lutimens; nanoseconds may be UTIME_NOW, UTIME_OMIT. */
  utimens(path: string, atime: number, atimeNs: number, mtime: number, mtimeNs: number): number

  getxattr(path: string, name: string): Buffer | number
  setxattr(path: string, name: string, value: Buffer, flags?: number): number
  listxattr(path: string): string[] | number
  removexattr(path: string, name: string): number

  /** Opens a directory for listing piece by piece. */
  opendir(path: string): number
  /** Up to about `bytes` of listing from `offset` (0n: the beginning); `[]` at the end. `.` and `..` included. */
  readdir(dir: number, offset: bigint, bytes: number): Dirent[] | number
  closedir(dir: number): void
}
