/**
 * Owns what identifies a file for ever: file handles (name_to_handle_at(2), open_by_handle_at(2)) and the UUID of a
 * filesystem. A handle is { type, bytes }; only the filesystem that made it can read it.
 */
import { AT } from './constants.js'
import { addressOf, cpath, libc, ret, scratch } from './libc.js'
import { ioctl } from './file.js'

const c = {
  nameToHandle: libc.func('int name_to_handle_at(int dirfd, uintptr_t path, uintptr_t fh, uintptr_t mnt, int flags)'),
  openByHandle: libc.func('int open_by_handle_at(int mount, uintptr_t fh, int flags)'),
}

/** MAX_HANDLE_SZ (fcntl.h). */
const MAX_HANDLE = 128
// The mount id the kernel writes too lies behind the handle: a buffer that no function refers to would be collected.
const fh = scratch(8 + MAX_HANDLE + 8)
const fhAddress = addressOf(fh)
const mountIdAddress = fhAddress + 8 + MAX_HANDLE

export interface FileHandle {
  readonly type: number
  readonly bytes: Buffer
}

/** The handle of `path` below `dirfd` (final symlink not followed; '' names `dirfd` itself), or `-errno` (EOPNOTSUPP). */
export function nameToHandle(dirfd: number, path: string): FileHandle | number {
  fh.writeUInt32LE(MAX_HANDLE, 0)
  const flags = path === '' ? AT.EMPTY_PATH : 0
  const r = ret(c.nameToHandle(dirfd, cpath(path), fhAddress, mountIdAddress, flags) as number)
  if (r < 0) return r
  return { type: fh.readInt32LE(4), bytes: Buffer.from(fh.subarray(8, 8 + fh.readUInt32LE(0))) }
}

/** Opens by handle on the filesystem of `mountFd`; needs CAP_DAC_READ_SEARCH. ESTALE: the file is gone. */
export function openByHandle(mountFd: number, handle: FileHandle, flags: number): number {
  fh.writeUInt32LE(handle.bytes.length, 0)
  fh.writeInt32LE(handle.type, 4)
  handle.bytes.copy(fh, 8)
  return ret(c.openByHandle(mountFd, fhAddress, flags | 0o2000000) as number)
}

const FS_IOC_GETFSUUID = 0x80111500
const uuid = scratch(17)
const uuidAddress = addressOf(uuid)

/** The filesystem's UUID, 16 bytes, by an open fd (not O_PATH); all zero where it has none or the kernel (< 6.9) tells none. */
export function filesystemUuid(fd: number): Buffer {
  uuid.fill(0)
  const r = ioctl(fd, FS_IOC_GETFSUUID, uuidAddress)
  return r < 0 || uuid[0] !== 16 ? Buffer.alloc(16) : Buffer.from(uuid.subarray(1))
}
