/**
 * Owns calls on names: list, make, remove, rename, link, readlink. Every call takes a directory fd (O_PATH is enough,
 * except for getdents) and a byte-string name or relative path; nothing follows a final symlink.
 */
import { AT, type DT } from './constants.js'
import { addressOf, cpath, cpath2, libc, ret, scratch, syscall6 } from './libc.js'

const c = {
  getdents: libc.func('intptr_t getdents64(int fd, uintptr_t buf, size_t n)'),
  mkdirat: libc.func('int mkdirat(int dirfd, uintptr_t path, uint mode)'),
  mknodat: libc.func('int mknodat(int dirfd, uintptr_t path, uint mode, uint64_t dev)'),
  unlinkat: libc.func('int unlinkat(int dirfd, uintptr_t path, int flags)'),
  linkat: libc.func('int linkat(int from, uintptr_t path, int to, uintptr_t path2, int flags)'),
  symlinkat: libc.func('int symlinkat(uintptr_t target, int dirfd, uintptr_t path)'),
  readlinkat: libc.func('intptr_t readlinkat(int dirfd, uintptr_t path, uintptr_t buf, size_t n)'),
}
const RENAMEAT2 = process.arch === 'arm64' ? 276 : 316

export type DirentType = (typeof DT)[keyof typeof DT]

const LIST_SIZE = 128 * 1024
const listing = scratch(LIST_SIZE)
const listingAddress = addressOf(listing)

/**
 * Calls `each(name, type, ino)` for every entry of the open directory `fd` (not O_PATH) from its current position,
 * `.` and `..` left out. `ino` is exact below 2^53. Returns 0 or `-errno`. `each` must not list another directory.
 */
export function listdir(fd: number, each: (name: string, type: number, ino: number) => void): number {
  for (;;) {
    const n = ret(c.getdents(fd, listingAddress, LIST_SIZE) as number)
    if (n <= 0) return n
    for (let at = 0; at < n;) {
      const length = listing.readUInt16LE(at + 16)
      const first = at + 19
      let end = first
      while (listing[end] !== 0) end++
      if (!isDots(first, end)) {
        const ino = listing.readUInt32LE(at + 4) * 0x100000000 + listing.readUInt32LE(at)
        each(listing.latin1Slice(first, end), listing[at + 18] ?? 0, ino)
      }
      at += length
    }
  }
}

function isDots(first: number, end: number): boolean {
  const n = end - first
  return listing[first] === 46 && (n === 1 || (n === 2 && listing[first + 1] === 46))
}

export function mkdirat(dirfd: number, path: string, mode: number): number {
  return ret(c.mkdirat(dirfd, cpath(path), mode) as number)
}

/** mknodat(2); `rdev` in the "new" 32-bit encoding, which is what the kernel decodes. */
export function mknodat(dirfd: number, path: string, mode: number, rdev: number): number {
  return ret(c.mknodat(dirfd, cpath(path), mode, rdev) as number)
}

export function unlinkat(dirfd: number, path: string): number {
  return ret(c.unlinkat(dirfd, cpath(path), 0) as number)
}

export function rmdirat(dirfd: number, path: string): number {
  return ret(c.unlinkat(dirfd, cpath(path), AT.REMOVEDIR) as number)
}

/** renameat2(2) with RENAME flags. */
export function renameat2(from: number, path: string, to: number, path2: string, flags = 0): number {
  return ret(syscall6(RENAMEAT2, from, cpath(path), to, cpath2(path2), flags, 0))
}

/** linkat(2) of a name; symlinks are linked themselves. */
export function linkat(from: number, path: string, to: number, path2: string): number {
  return ret(c.linkat(from, cpath(path), to, cpath2(path2), 0) as number)
}

/** Gives the open file `fd` (O_TMPFILE, or any not yet unlinked) a name, through /proc/self/fd. */
export function linkFd(fd: number, to: number, path: string): number {
  return ret(c.linkat(AT.FDCWD, cpath(`/proc/self/fd/${fd}`), to, cpath2(path), AT.SYMLINK_FOLLOW) as number)
}

export function symlinkat(target: string, dirfd: number, path: string): number {
  return ret(c.symlinkat(cpath(target), dirfd, cpath2(path)) as number)
}

const LINK_SIZE = 4096
const link = scratch(LINK_SIZE)
const linkAddress = addressOf(link)

/** readlinkat(2): the target as a byte string, or `-errno`. `path` '' reads the O_PATH symlink fd itself. */
export function readlinkat(dirfd: number, path: string): string | number {
  const n = ret(c.readlinkat(dirfd, cpath(path), linkAddress, LINK_SIZE) as number)
  return n < 0 ? n : link.latin1Slice(0, n)
}
