/**
 * Owns mapped memory: mmap(2) and friends, and copying between a mapping and a Buffer.
 * Formats: an address is a plain number, lengths are bytes. A fault on a page that the file cannot give is SIGBUS, as
 * for any program.
 */
import { addressOf, libc, ret } from './libc.js'

const c = {
  mmap: libc.func('intptr_t mmap(uintptr_t at, size_t n, int prot, int flags, int fd, int64_t off)'),
  munmap: libc.func('int munmap(uintptr_t at, size_t n)'),
  msync: libc.func('int msync(uintptr_t at, size_t n, int flags)'),
  memcpy: libc.func('uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t n)'),
}

export const PROT = { NONE: 0, READ: 1, WRITE: 2, EXEC: 4 } as const
export const MAP = { SHARED: 1, PRIVATE: 2, ANONYMOUS: 0x20 } as const
const MS_SYNC = 4

/** mmap(2) of an open file. The mapping's address, or `-errno`. */
export function mmap(fd: number, length: number, prot: number, flags: number, offset = 0): number {
  return ret(c.mmap(0, length, prot, flags, fd, offset) as number)
}

export function munmap(address: number, length: number): number {
  return ret(c.munmap(address, length) as number)
}

/** msync(2) with MS_SYNC. `address` page-aligned. */
export function msync(address: number, length: number): number {
  return ret(c.msync(address, length, MS_SYNC) as number)
}

/** A copy of mapped bytes. */
export function peek(address: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  c.memcpy(addressOf(bytes), address, length)
  return bytes
}

/** Writes into mapped bytes. */
export function poke(address: number, bytes: Uint8Array): void {
  c.memcpy(address, addressOf(bytes), bytes.length)
}
