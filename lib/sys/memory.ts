/**
 * Owns memory that is a file: memfd_create(2), and shared mappings (mmap(2)) seen as an ArrayBuffer; and giving memory back.
 */
import koffi from 'koffi'
import { setV8Flags } from '../v8-flags.js'
import { addressOf, libc, ret } from './libc.js'

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

const madvise = libc.func('int madvise(uintptr_t at, size_t n, int advice)') as (
  at: number,
  n: number,
  advice: number,
) => number
const mallocTrim = libc.func('int malloc_trim(size_t pad)') as (pad: number) => number
let collect: (() => void) | undefined

/**
 * Gives unused memory back to the machine: V8 does so by itself only in the course of allocating more. Takes some 100 ms per
 * million objects that are gone.
 */
export function giveBack(): void {
  if (collect === undefined) {
    setV8Flags('--expose-gc')
    collect = process.getBuiltinModule('node:vm').runInNewContext('gc') as () => void
  }
  collect()
  mallocTrim(0)
}

/**
 * Asks for large pages below what of `buffer` is whole ones (madvise(2), MADV_HUGEPAGE): memory that will be filled soon costs
 * one fault for 2 MiB then, and not 512. Where the kernel has none, nothing changes.
 */
export function wantHugePages(buffer: Buffer): void {
  const HUGE = 2 * 1024 * 1024
  const MADV_HUGEPAGE = 14
  const address = addressOf(buffer)
  const from = Math.ceil(address / HUGE) * HUGE
  const to = Math.floor((address + buffer.length) / HUGE) * HUGE
  if (to > from) madvise(from, to - from, MADV_HUGEPAGE)
}

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
