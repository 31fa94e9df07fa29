/**
 * Owns the door to libc: the koffi library handle and the calling conventions that every file in lib/sys uses.
 * - Paths are byte strings (lib/bytes.ts), written NUL-terminated into per-thread scratch and passed by address.
 * - Results are the kernel's: >= 0, or `-errno`. Nothing here throws for a failed call.
 * - Each thread loads its own copy of this module, so scratch is never shared.
 * Invariant: no file outside lib/sys imports koffi.
 */
import koffi from 'koffi'

export const libc = koffi.load('libc.so.6')

/** `-errno` for a failed libc call, else the call's result. Call it directly on the call: `ret(openat(...))`. */
export function ret(result: number): number {
  return result < 0 ? -koffi.errno() : result
}

/**
 * Address of a buffer's first byte. The buffer's memory does not move; the caller keeps it alive. A module's `const`
 * that no function mentions again is garbage like any other, and what the kernel then writes there ruins the heap (a
 * bundle that leaves out unused functions makes such a const): buffers of a module come from `scratch`.
 */
export function addressOf(buffer: Uint8Array): number {
  return Number(koffi.address(buffer))
}

/** A buffer with a stable address of its own, never part of Node's shared pool. */
export function alloc(size: number): Buffer {
  return Buffer.alloc(size)
}

const kept: Buffer[] = []

/** A buffer with a stable address that lives as long as the thread: for what a module keeps the address of. */
export function scratch(size: number): Buffer {
  const buffer = alloc(size)
  kept.push(buffer)
  return buffer
}

const PATH_CAPACITY = 8192
const pathBuffers = [scratch(PATH_CAPACITY), scratch(PATH_CAPACITY)] as const
const pathAddresses = [addressOf(pathBuffers[0]), addressOf(pathBuffers[1])] as const

/**
 * Writes a byte string NUL-terminated to scratch 0 and returns its address, valid until the next call. A longer path
 * than the scratch is cut there: still past PATH_MAX, so the kernel says ENAMETOOLONG.
 */
export function cpath(path: string): number {
  const n = pathBuffers[0].latin1Write(path, 0, PATH_CAPACITY - 1)
  pathBuffers[0][n] = 0
  return pathAddresses[0]
}

/** `cpath` for the second path of a call. */
export function cpath2(path: string): number {
  const n = pathBuffers[1].latin1Write(path, 0, PATH_CAPACITY - 1)
  pathBuffers[1][n] = 0
  return pathAddresses[1]
}

/** The raw system call, for calls newer than glibc 2.31's wrappers. Six machine words. */
export const syscall6 = libc.func(
  'long syscall(long nr, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f)',
) as (nr: number, a: number, b: number, c: number, d: number, e: number, f: number) => number

const inThread = libc.func(
  'long syscall(long nr, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e)',
) as unknown as {
  async(...args: [...number[], (error: unknown, result: number) => void]): void
}

/** A system call on a thread of the pool: the event loop goes on, and may serve what the call asks for. `-errno` if it fails. */
export function syscallInThread(nr: number, a: number, b = 0, c = 0, d = 0, e = 0): Promise<number> {
  return new Promise((done, fail) =>
    // koffi keeps the errno of an asynchronous call for its callback.
    inThread.async(nr, a, b, c, d, e, (error, result) => (error ? fail(error as Error) : done(ret(result)))),
  )
}

/** System call numbers of the generic table (>= 424), the same on x86-64 and arm64. */
export const NR = {
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  pidfd_open: 434,
  clone3: 435,
  close_range: 436,
  openat2: 437,
  pidfd_getfd: 438,
  faccessat2: 439,
  mount_setattr: 442,
  cachestat: 451,
} as const

/** System call numbers that differ by architecture. */
export const NRA: Readonly<
  Record<'pivot_root' | 'capset' | 'capget' | 'pidfd_send_signal' | 'waitid' | 'syncfs', number>
> =
  process.arch === 'arm64'
    ? { pivot_root: 41, capset: 91, capget: 90, pidfd_send_signal: 424, waitid: 95, syncfs: 267 }
    : { pivot_root: 155, capset: 126, capget: 125, pidfd_send_signal: 424, waitid: 247, syncfs: 306 }
