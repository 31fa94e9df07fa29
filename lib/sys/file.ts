/**
 * Owns calls on open files: open, close, read, write, size, space, sync, copy, lock.
 * Formats: fds are plain numbers, offsets and lengths bytes (exact to 2^53), results `>= 0` or `-errno`.
 * Invariant: every fd opened here is O_CLOEXEC.
 */
import { E } from '../errno.js'
import { AT, O } from './constants.js'
import { NR, NRA, addressOf, alloc, cpath, libc, ret, scratch, syscall6, syscallInThread } from './libc.js'

const c = {
  openat: libc.func('int openat(int dirfd, uintptr_t path, int flags, uint mode)'),
  close: libc.func('int close(int fd)'),
  read: libc.func('intptr_t read(int fd, uintptr_t buf, size_t n)'),
  write: libc.func('intptr_t write(int fd, uintptr_t buf, size_t n)'),
  pread: libc.func('intptr_t pread64(int fd, uintptr_t buf, size_t n, int64_t off)'),
  pwrite: libc.func('intptr_t pwrite64(int fd, uintptr_t buf, size_t n, int64_t off)'),
  ftruncate: libc.func('int ftruncate64(int fd, int64_t n)'),
  fallocate: libc.func('int fallocate64(int fd, int mode, int64_t off, int64_t n)'),
  fadvise: libc.func('int posix_fadvise(int fd, int64_t offset, int64_t n, int advice)'),
  lseek: libc.func('int64_t lseek64(int fd, int64_t off, int whence)'),
  fsync: libc.func('int fsync(int fd)'),
  fdatasync: libc.func('int fdatasync(int fd)'),
  syncfs: libc.func('int syncfs(int fd)'),
  flock: libc.func('int flock(int fd, int op)'),
  syncFileRange: libc.func('int sync_file_range(int fd, int64_t off, int64_t n, uint flags)'),
  copyFileRange: libc.func(
    'intptr_t copy_file_range(int in, uintptr_t offIn, int out, uintptr_t offOut, size_t n, uint flags)',
  ),
  ioctl: libc.func('int ioctl(int fd, ulong request, uintptr_t arg)'),
  dup3: libc.func('int fcntl(int fd, int cmd, int arg)'),
  getrlimit: libc.func('int getrlimit64(int resource, uintptr_t out)'),
}

/** openat(2), with O_CLOEXEC added. */
export function openat(dirfd: number, path: string, flags: number, mode = 0): number {
  return ret(c.openat(dirfd, cpath(path), flags | O.CLOEXEC, mode) as number)
}

/** open(2) of an absolute path. */
export function open(path: string, flags: number, mode = 0): number {
  return openat(AT.FDCWD, path, flags, mode)
}

const how = scratch(24)
const howAddress = addressOf(how)

/** openat2(2): resolution confined by `resolve` (RESOLVE flags). ENOSYS below Linux 5.6. */
export function openat2(dirfd: number, path: string, flags: number, mode: number, resolve: number): number {
  how.writeUInt32LE((flags | O.CLOEXEC) >>> 0, 0)
  how.writeUInt32LE(0, 4)
  how.writeUInt32LE(mode, 8)
  how.writeUInt32LE(0, 12)
  how.writeUInt32LE(resolve, 16)
  how.writeUInt32LE(0, 20)
  return ret(syscall6(NR.openat2, dirfd, cpath(path), howAddress, 24, 0, 0))
}

/** `openat2` on a thread of the pool, for paths that this process may itself be serving. An fd, or `-errno`. */
export function openat2InThread(
  dirfd: number,
  path: string,
  flags: number,
  mode: number,
  resolve: number,
): Promise<number> {
  const memory = alloc(24 + path.length + 1)
  memory.writeBigUInt64LE(BigInt(flags | O.CLOEXEC), 0)
  memory.writeBigUInt64LE(BigInt(mode), 8)
  memory.writeBigUInt64LE(BigInt(resolve), 16)
  memory.latin1Write(path, 24)
  const address = addressOf(memory)
  // The memory is the thread's until then.
  return syscallInThread(NR.openat2, dirfd, address + 24, address, 24).finally(() => memory.fill(0))
}

/** close(2). */
export function close(fd: number): number {
  return ret(c.close(fd) as number)
}

/** A duplicate of `fd` at or above `min`, close-on-exec (fcntl F_DUPFD_CLOEXEC). */
export function dup(fd: number, min = 3): number {
  return ret(c.dup3(fd, 1030, min) as number)
}

/** Makes reads and writes of `fd` return EAGAIN instead of waiting (fcntl F_SETFL). 0 or `-errno`. */
export function setNonblocking(fd: number): number {
  const flags = ret(c.dup3(fd, 3, 0) as number)
  return flags < 0 ? flags : ret(c.dup3(fd, 4, flags | O.NONBLOCK) as number)
}

/** read(2) into memory at `address`. */
export function readAt(fd: number, address: number, length: number): number {
  return ret(c.read(fd, address, length) as number)
}

/** write(2) from memory at `address`. */
export function writeAt(fd: number, address: number, length: number): number {
  return ret(c.write(fd, address, length) as number)
}

/** pread(2) into memory at `address`. */
export function preadAt(fd: number, address: number, length: number, position: number): number {
  return ret(c.pread(fd, address, length, position) as number)
}

/** pwrite(2) from memory at `address`. */
export function pwriteAt(fd: number, address: number, length: number, position: number): number {
  return ret(c.pwrite(fd, address, length, position) as number)
}

/** pread(2) into `buffer` from its start; at most `buffer.length` bytes. */
export function pread(fd: number, buffer: Uint8Array, position: number): number {
  return preadAt(fd, addressOf(buffer), buffer.length, position)
}

/** pwrite(2) of the whole `buffer`. May write less. */
export function pwrite(fd: number, buffer: Uint8Array, position: number): number {
  return pwriteAt(fd, addressOf(buffer), buffer.length, position)
}

export function ftruncate(fd: number, length: number): number {
  return ret(c.ftruncate(fd, length) as number)
}

/** fallocate(2) with FALLOC mode bits. */
export function fallocate(fd: number, mode: number, offset: number, length: number): number {
  return ret(c.fallocate(fd, mode, offset, length) as number)
}

/** Has the kernel read the first `length` bytes of `fd`, which is not waited for (posix_fadvise(2), POSIX_FADV_WILLNEED). */
export function willNeed(fd: number, length: number): void {
  const WILLNEED = 3
  c.fadvise(fd, 0, length, WILLNEED)
}

/** lseek(2), SEEK_DATA and SEEK_HOLE included. */
export function lseek(fd: number, offset: number, whence: number): number {
  return ret(c.lseek(fd, offset, whence) as number)
}

export function fsync(fd: number): number {
  return ret(c.fsync(fd) as number)
}

export function fdatasync(fd: number): number {
  return ret(c.fdatasync(fd) as number)
}

export function syncfs(fd: number): number {
  return ret(c.syncfs(fd) as number)
}

/** syncfs(2) on a thread of the pool. 0 or `-errno`. */
export function syncfsInThread(fd: number): Promise<number> {
  return syscallInThread(NRA.syncfs, fd)
}

/**
 * Starts writing `length` bytes from `offset` to disk and does not wait (sync_file_range(2), SYNC_FILE_RANGE_WRITE), so
 * that a later fsync or syncfs has less to do. No promise of durability; a filesystem without it says ENOSYS or EINVAL.
 */
export function startWriteback(fd: number, offset: number, length: number): number {
  return ret(c.syncFileRange(fd, offset, length, 2) as number)
}

const cacheRange = scratch(16)
const cacheRangeAddress = addressOf(cacheRange)
const cacheCounts = scratch(40)
const cacheCountsAddress = addressOf(cacheCounts)

/**
 * Pages of the file in the page cache that the disk does not have yet: changed, or on their way (cachestat of Linux 6.5;
 * a range of no bytes is all of it). `-errno`: ENOSYS below.
 */
export function unwrittenPages(fd: number): number {
  const r = ret(syscall6(NR.cachestat, fd, cacheRangeAddress, cacheCountsAddress, 0, 0, 0))
  // struct cachestat: nr_cache, nr_dirty, nr_writeback, …
  return r < 0 ? r : Number(cacheCounts.readBigUInt64LE(8) + cacheCounts.readBigUInt64LE(16))
}

const NOFILE = 7

/** How many fds this process may have (getrlimit(2), RLIMIT_NOFILE); 1024 where nobody says. */
export function fileLimit(): number {
  const out = alloc(16)
  return (c.getrlimit(NOFILE, addressOf(out)) as number) === 0 ? Number(out.readBigUInt64LE(0)) : 1024
}

/** flock(2) with LOCK bits. */
export function flock(fd: number, operation: number): number {
  return ret(c.flock(fd, operation) as number)
}

const offsets = scratch(16)
const offsetsAddress = addressOf(offsets)

/** copy_file_range(2) between explicit offsets. Returns the bytes copied, 0 at the end of the source. */
export function copyFileRange(from: number, fromAt: number, to: number, toAt: number, length: number): number {
  offsets.writeBigInt64LE(BigInt(fromAt), 0)
  offsets.writeBigInt64LE(BigInt(toAt), 8)
  return ret(c.copyFileRange(from, offsetsAddress, to, offsetsAddress + 8, length, 0) as number)
}

/** ioctl(2) with a number or an address as argument. */
export function ioctl(fd: number, request: number, arg: number): number {
  return ret(c.ioctl(fd, request, arg) as number)
}

const FICLONE = 0x40049409

/** FICLONE (ioctl_ficlonerange(2)): makes `to` share all of `from`'s extents. EOPNOTSUPP/EXDEV/EINVAL where it cannot. */
export function ficlone(to: number, from: number): number {
  return ioctl(to, FICLONE, from)
}

/** close_range(2) with CLOSE_RANGE_CLOEXEC: marks every fd from `first` on close-on-exec. ENOSYS below Linux 5.11. */
export function cloexecFrom(first: number): number {
  return ret(syscall6(NR.close_range, first, 0xffffffff, 4, 0, 0, 0))
}

/** Writes all of `buffer` at `position`, going on after short writes. Returns 0 or `-errno`. */
export function pwriteAll(fd: number, buffer: Uint8Array, position: number): number {
  const address = addressOf(buffer)
  for (let done = 0; done < buffer.length;) {
    const n = preserveEintr(() => pwriteAt(fd, address + done, buffer.length - done, position + done))
    if (n < 0) return n
    done += n
  }
  return 0
}

function preserveEintr(call: () => number): number {
  for (;;) {
    const n = call()
    if (n !== -E.EINTR) return n
  }
}
