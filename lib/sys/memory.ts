/** Owns memory that is a file: memfd_create(2), and shared mappings (mmap(2)) seen as an ArrayBuffer. */
import koffi from 'koffi'
import { libc, ret } from './libc.js'

const memfdCreate = libc.func('int memfd_create(const char *name, uint flags)') as (
  name: string,
  flags: number,
) => number
const mmap = libc.func('intptr_t mmap(uintptr_t at, size_t n, int protection, int flags, int fd, int64_t offset)') as (
  at: number,
  n: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number

/** A new anonymous file in memory, close-on-exec; `name` shows in /proc only. The fd or `-errno`. */
export function memfd(name: string): number {
  return ret(memfdCreate(name, 1))
}

/**
 * Maps the first `length` bytes of the open file `fd` shared and writable. The mapping stays for the process's life.
 * Undefined where it cannot be made.
 */
export function mapShared(fd: number, length: number): ArrayBuffer | undefined {
  const PROT_READ_WRITE = 3
  const MAP_SHARED = 1
  const address = Number(mmap(0, length, PROT_READ_WRITE, MAP_SHARED, fd, 0))
  return address < 0 ? undefined : koffi.view(address, length)
}
