/**
 * Owns file attributes: statx, statfs, chmod, chown, utimensat.
 * Formats: `Stat` is one reusable object per caller; times are seconds (signed) and nanoseconds; devices in the "new"
 * 32-bit encoding (constants.makedev). Invariant: nothing is allocated per call.
 */
import { AT } from './constants.js'
import { addressOf, cpath, libc, ret, scratch } from './libc.js'

const c = {
  statx: libc.func('int statx(int dirfd, uintptr_t path, int flags, uint mask, uintptr_t out)'),
  fchmodat: libc.func('int fchmodat(int dirfd, uintptr_t path, uint mode, int flags)'),
  fchmod: libc.func('int fchmod(int fd, uint mode)'),
  fchownat: libc.func('int fchownat(int dirfd, uintptr_t path, uint uid, uint gid, int flags)'),
  utimensat: libc.func('int utimensat(int dirfd, uintptr_t path, uintptr_t times, int flags)'),
  futimens: libc.func('int futimens(int fd, uintptr_t times)'),
  fstatfs: libc.func('int fstatfs64(int fd, uintptr_t out)'),
}

/** What statx(2) tells. `mtime`, `atime`, `ctime`, `btime` are seconds, `…Ns` nanoseconds; `blocks` 512-byte units. */
export class Stat {
  mode = 0
  nlink = 0
  uid = 0
  gid = 0
  /** Exact below 2^53; larger ones (overlayfs xino, FUSE) are folded by `foldIno`, alike in every process. */
  ino = 0
  size = 0
  blocks = 0
  blksize = 0
  /** The device the file lies on, as a number unique per filesystem: `makedev(major, minor)`. */
  dev = 0
  /** For char and block devices. */
  rdev = 0
  atime = 0
  atimeNs = 0
  mtime = 0
  mtimeNs = 0
  ctime = 0
  ctimeNs = 0
  btime = 0
  btimeNs = 0
  /** statx attributes low word (STATX_ATTR_*: IMMUTABLE 0x10, APPEND 0x20, MOUNT_ROOT 0x2000). */
  attributes = 0
}

/** What a caller of statx wants to know: what stat(2) tells, or that and the time of birth. */
export const STATX = { BASIC: 0x7ff, ALL: 0xfff } as const
const out = scratch(256)
const outAddress = addressOf(out)
const view = new DataView(out.buffer, out.byteOffset, 256)

/** Folds a 64-bit inode number into 53 bits: exact when it fits, else the top 11 bits are mixed into bits 42..52. */
function foldIno(lo: number, hi: number): number {
  if (hi < 0x200000) return hi * 0x100000000 + lo
  return ((hi & 0x1fffff) ^ ((hi >>> 21) << 10)) * 0x100000000 + lo
}

function seconds(at: number): number {
  return view.getInt32(at + 4, true) * 0x100000000 + view.getUint32(at, true)
}

function u64(at: number): number {
  return view.getUint32(at + 4, true) * 0x100000000 + view.getUint32(at, true)
}

/** statx(2) of `path` below `dirfd`, never following a final symlink. Fills `st`; returns 0 or `-errno`. */
export function statat(
  dirfd: number,
  path: string,
  st: Stat,
  flags: number = AT.SYMLINK_NOFOLLOW,
  mask: number = STATX.ALL,
): number {
  const r = ret(c.statx(dirfd, cpath(path), flags | AT.NO_AUTOMOUNT, mask, outAddress) as number)
  if (r < 0) return r
  st.blksize = view.getUint32(4, true)
  st.attributes = view.getUint32(8, true)
  st.nlink = view.getUint32(16, true)
  st.uid = view.getUint32(20, true)
  st.gid = view.getUint32(24, true)
  st.mode = view.getUint16(28, true)
  st.ino = foldIno(view.getUint32(32, true), view.getUint32(36, true))
  st.size = u64(40)
  st.blocks = u64(48)
  st.atime = seconds(64)
  st.atimeNs = view.getUint32(72, true)
  st.btime = seconds(80)
  st.btimeNs = view.getUint32(88, true)
  st.ctime = seconds(96)
  st.ctimeNs = view.getUint32(104, true)
  st.mtime = seconds(112)
  st.mtimeNs = view.getUint32(120, true)
  st.rdev = dev(128)
  st.dev = dev(136)
  return 0
}

function dev(at: number): number {
  const major = view.getUint32(at, true)
  const minor = view.getUint32(at + 4, true)
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0
}

/** statx(2) of an open file (O_PATH too). */
export function fstat(fd: number, st: Stat): number {
  return statat(fd, '', st, AT.EMPTY_PATH)
}

/** chmod of `path` below `dirfd`. Follows symlinks: the caller knows it is none. */
export function chmodat(dirfd: number, path: string, mode: number): number {
  return ret(c.fchmodat(dirfd, cpath(path), mode, 0) as number)
}

export function fchmod(fd: number, mode: number): number {
  return ret(c.fchmod(fd, mode) as number)
}

/** chown, not following a symlink; 0xffffffff leaves an id as it is. `path` '' with AT.EMPTY_PATH names `dirfd` itself. */
export function chownat(
  dirfd: number,
  path: string,
  uid: number,
  gid: number,
  flags: number = AT.SYMLINK_NOFOLLOW,
): number {
  return ret(c.fchownat(dirfd, cpath(path), uid >>> 0, gid >>> 0, flags) as number)
}

/** Nanosecond values with a meaning of their own (utimensat(2)). */
export const UTIME_NOW = 0x3fffffff
export const UTIME_OMIT = 0x3ffffffe

const times = scratch(32)
const timesAddress = addressOf(times)
const timesView = new DataView(times.buffer, times.byteOffset, 32)

function putTime(at: number, sec: number, ns: number): void {
  timesView.setUint32(at, sec >>> 0, true)
  timesView.setInt32(at + 4, Math.floor(sec / 0x100000000), true)
  timesView.setUint32(at + 8, ns, true)
  timesView.setUint32(at + 12, 0, true)
}

/** utimensat(2), not following a symlink. Seconds may be negative; nanoseconds may be UTIME_NOW or UTIME_OMIT. */
export function utimensat(
  dirfd: number,
  path: string,
  atime: number,
  atimeNs: number,
  mtime: number,
  mtimeNs: number,
  flags: number = AT.SYMLINK_NOFOLLOW,
): number {
  putTime(0, atime, atimeNs)
  putTime(16, mtime, mtimeNs)
  return ret(c.utimensat(dirfd, cpath(path), timesAddress, flags) as number)
}

/** futimens(3). */
export function futimens(fd: number, atime: number, atimeNs: number, mtime: number, mtimeNs: number): number {
  putTime(0, atime, atimeNs)
  putTime(16, mtime, mtimeNs)
  return ret(c.futimens(fd, timesAddress) as number)
}

/** statfs(2)'s numbers; `type` is the filesystem's magic, `flags` the mount's (ST_RDONLY … ST_NOEXEC are MS_'s). */
export class StatFs {
  type = 0
  bsize = 0
  blocks = 0
  bfree = 0
  bavail = 0
  files = 0
  ffree = 0
  namelen = 0
  frsize = 0
  flags = 0
}

const fsOut = scratch(120)
const fsOutAddress = addressOf(fsOut)

/** fstatfs(2); works on O_PATH fds. */
export function fstatfs(fd: number, st: StatFs): number {
  const r = ret(c.fstatfs(fd, fsOutAddress) as number)
  if (r < 0) return r
  const u = (i: number): number => fsOut.readUInt32LE(i * 8 + 4) * 0x100000000 + fsOut.readUInt32LE(i * 8)
  st.type = fsOut.readUInt32LE(0)
  st.bsize = u(1)
  st.blocks = u(2)
  st.bfree = u(3)
  st.bavail = u(4)
  st.files = u(5)
  st.ffree = u(6)
  st.namelen = u(8)
  st.frsize = u(9)
  st.flags = u(10)
  return 0
}
