/**
 * Owns pipes as a place for pages on their way from one file to another, without a copy in between (splice(2)).
 * Formats: results are `>= 0` or `-errno`. Both ends are close-on-exec; neither waits.
 */
import { O } from './constants.js'
import { close } from './file.js'
import { addressOf, libc, ret, scratch } from './libc.js'

const c = {
  pipe2: libc.func('int pipe2(uintptr_t fds, int flags)'),
  fcntl: libc.func('int fcntl(int fd, int cmd, int arg)'),
  splice: libc.func('intptr_t splice(int from, uintptr_t fromAt, int to, uintptr_t toAt, size_t n, uint flags)'),
}

const F_SETPIPE_SZ = 1031
const SPLICE_F_NONBLOCK = 2
const PAGE = 4096

const fds = scratch(8)
const fdsAddress = addressOf(fds)
const offset = scratch(8)
const offsetAddress = addressOf(offset)
const offsetView = new DataView(offset.buffer, offset.byteOffset, 8)

export interface Pipe {
  readonly from: number
  readonly to: number
}

/** A pipe for `pages` pages, whole or in part. `-errno`: EMFILE, and EPERM where the user's pipes have all the pages they may (pipe(7)). */
export function pipe(pages: number): Pipe | number {
  const r = ret(c.pipe2(fdsAddress, O.CLOEXEC | O.NONBLOCK) as number)
  if (r < 0) return r
  const [from, to] = [fds.readInt32LE(0), fds.readInt32LE(4)]
  const size = ret(c.fcntl(to, F_SETPIPE_SZ, pages * PAGE) as number)
  if (size >= pages * PAGE) return { from, to }
  closePipe({ from, to })
  return size
}

export function closePipe({ from, to }: Pipe): void {
  close(from)
  close(to)
}

/** Moves up to `length` bytes of the file `fd` from `position` into a pipe: references to its pages. 0 at its end. */
export function spliceFrom(fd: number, position: number, { to }: Pipe, length: number): number {
  offsetView.setUint32(0, position >>> 0, true)
  offsetView.setUint32(4, Math.floor(position / 0x100000000), true)
  return ret(c.splice(fd, offsetAddress, to, 0, length, SPLICE_F_NONBLOCK) as number)
}

/** Moves `length` bytes out of a pipe into `fd`, which has no position. */
export function spliceTo({ from }: Pipe, fd: number, length: number): number {
  return ret(c.splice(from, 0, fd, 0, length, 0) as number)
}
