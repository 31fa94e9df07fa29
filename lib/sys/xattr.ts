/**
 * Owns extended attributes. The f*xattr calls refuse O_PATH fds, so names are reached as /proc/self/fd/DIRFD/NAME with
 * the l*xattr calls: confined to the directory, never following a final symlink.
 * Formats: names are byte strings with their namespace (`user.x`), values Buffers.
 */
import { E } from '../errno.js'
import { addressOf, cpath, cpath2, libc, ret, scratch } from './libc.js'

/** Where a file's capabilities are (capabilities(7)); the kernel asks for it before a first write. */
export const CAPABILITY = 'security.capability'

const c = {
  lgetxattr: libc.func('intptr_t lgetxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t n)'),
  lsetxattr: libc.func('int lsetxattr(uintptr_t path, uintptr_t name, uintptr_t value, size_t n, int flags)'),
  llistxattr: libc.func('intptr_t llistxattr(uintptr_t path, uintptr_t list, size_t n)'),
  lremovexattr: libc.func('int lremovexattr(uintptr_t path, uintptr_t name)'),
  fgetxattr: libc.func('intptr_t fgetxattr(int fd, uintptr_t name, uintptr_t value, size_t n)'),
  fsetxattr: libc.func('int fsetxattr(int fd, uintptr_t name, uintptr_t value, size_t n, int flags)'),
  flistxattr: libc.func('intptr_t flistxattr(int fd, uintptr_t list, size_t n)'),
  fremovexattr: libc.func('int fremovexattr(int fd, uintptr_t name)'),
}

/** XATTR_SIZE_MAX and XATTR_LIST_MAX (linux/limits.h). */
const SIZE_MAX = 65536
/**
 * Bytes offered for a value or for names at first. The kernel takes as much memory as it is offered, and clears it, before it looks
 * for any: 64 KiB in one piece are hard to find on a machine that has run for a while.
 */
const ROOM = 1024
const value = scratch(SIZE_MAX)
const valueAddress = addressOf(value)

/** What `call` answers when `value` is offered to it: a little of it, then all. */
function inRoom(call: (room: number) => number): number {
  const n = ret(call(ROOM))
  return n === -E.ERANGE ? ret(call(SIZE_MAX)) : n
}

/** The path by which xattr calls reach `name` below `dirfd`; '' is the directory (or file) `dirfd` itself, followed. */
function reach(dirfd: number, name: string): string {
  return name === '' ? `/proc/self/fd/${dirfd}/.` : `/proc/self/fd/${dirfd}/${name}`
}

function copyOut(n: number): Buffer | number {
  return n < 0 ? n : Buffer.from(value.subarray(0, n))
}

function splitNames(n: number): string[] | number {
  if (n < 0) return n
  return n === 0 ? [] : value.latin1Slice(0, n - 1).split('\0')
}

/** Value of an attribute of `path` below `dirfd` ('' = the directory itself), or `-errno` (ENODATA: not there). */
export function getxattrat(dirfd: number, path: string, name: string): Buffer | number {
  const at = cpath(reach(dirfd, path))
  const nameAt = cpath2(name)
  return copyOut(inRoom(room => c.lgetxattr(at, nameAt, valueAddress, room) as number))
}

/** Length of an attribute's value, or `-errno`: tells whether it is there, copying nothing. */
export function getxattrSizeAt(dirfd: number, path: string, name: string): number {
  return ret(c.lgetxattr(cpath(reach(dirfd, path)), cpath2(name), 0, 0) as number)
}

/** Sets an attribute; `flags` are XATTR.CREATE or XATTR.REPLACE. */
export function setxattrat(dirfd: number, path: string, name: string, data: Uint8Array, flags = 0): number {
  if (data.length > SIZE_MAX) return -E.E2BIG
  value.set(data)
  return ret(c.lsetxattr(cpath(reach(dirfd, path)), cpath2(name), valueAddress, data.length, flags) as number)
}

/** Names of all attributes that this process may see, or `-errno`. */
export function listxattrat(dirfd: number, path: string): string[] | number {
  const at = cpath(reach(dirfd, path))
  return splitNames(inRoom(room => c.llistxattr(at, valueAddress, room) as number))
}

export function removexattrat(dirfd: number, path: string, name: string): number {
  return ret(c.lremovexattr(cpath(reach(dirfd, path)), cpath2(name)) as number)
}

/** `getxattrat` of an open file (not O_PATH). */
export function fgetxattr(fd: number, name: string): Buffer | number {
  const nameAt = cpath(name)
  return copyOut(inRoom(room => c.fgetxattr(fd, nameAt, valueAddress, room) as number))
}

export function fsetxattr(fd: number, name: string, data: Uint8Array, flags = 0): number {
  if (data.length > SIZE_MAX) return -E.E2BIG
  value.set(data)
  return ret(c.fsetxattr(fd, cpath(name), valueAddress, data.length, flags) as number)
}

export function flistxattr(fd: number): string[] | number {
  return splitNames(inRoom(room => c.flistxattr(fd, valueAddress, room) as number))
}

export function fremovexattr(fd: number, name: string): number {
  return ret(c.fremovexattr(fd, cpath(name)) as number)
}
