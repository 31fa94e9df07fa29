/**
 * Owns long file work that is done away from the thread that serves: copying a file's data, syncing. A job is plain
 * data, so that it can cross threads; fds are the process's and stay open until the job is done.
 * Invariant: `runJob` is blocking, touches nothing but the fds it is given, and returns 0 or `-errno`.
 */
import { E } from '../errno.js'
import { SEEK } from './constants.js'
import { copyFileRange, fdatasync, ficlone, fsync, ftruncate, lseek, preadAt, pwriteAt, syncfs } from './file.js'
import { addressOf, alloc } from './libc.js'

export type JobSpec =
  /**
   * Makes `to` (empty, writable) hold the `size` bytes of `from`: shared extents where the filesystem can, holes kept.
   * `sync`: on disk as well.
   */
  | { readonly op: 'copy'; readonly from: number; readonly to: number; readonly size: number; readonly sync?: boolean }
  /** Makes the same range of `to` equal to `from`'s, holes kept; `to`'s size stays when the range lies within it. */
  | {
      readonly op: 'copy-range'
      readonly from: number
      readonly to: number
      readonly start: number
      readonly end: number
    }
  | { readonly op: 'fsync'; readonly fd: number; readonly dataOnly: boolean }
  | { readonly op: 'syncfs'; readonly fd: number }

export function runJob(spec: JobSpec): number {
  switch (spec.op) {
    case 'copy':
      return copyData(spec.from, spec.to, spec.size) || (spec.sync === true ? fdatasync(spec.to) : 0)
    case 'copy-range':
      return copyExtents(spec.from, spec.to, spec.start, spec.end)
    case 'fsync':
      return spec.dataOnly ? fdatasync(spec.fd) : fsync(spec.fd)
    case 'syncfs':
      return syncfs(spec.fd)
  }
}

/** What fits into one block: holes and shared extents are not worth looking for. */
const BLOCK = 4096

/**
 * Copies `size` bytes from the start of `from` to the start of `to`: FICLONE, else each data range by copy_file_range,
 * else by read and write. `to` has exactly `size` bytes afterwards. A source that is shorter leaves a hole at the end.
 */
export function copyData(from: number, to: number, size: number): number {
  if (size > BLOCK && ficlone(to, from) === 0) return ftruncate(to, size)
  if (size <= BLOCK) {
    const copied = copyByHand(from, to, 0, size)
    if (copied < 0 || copied === size) return Math.min(copied, 0)
  }
  const r = copyExtents(from, to, 0, size)
  return r < 0 ? r : ftruncate(to, size)
}

/** Copies the data of a range to the same place; where the source has holes, or ends, `to` is left as it is. */
export function copyExtents(from: number, to: number, first: number, size: number): number {
  for (let at = first; at < size;) {
    let start = lseek(from, at, SEEK.DATA)
    if (start === -E.ENXIO) break
    let end = size
    if (start < 0)
      start = at // the filesystem has no notion of holes: all is data
    else {
      const hole = lseek(from, start, SEEK.HOLE)
      if (hole > start) end = Math.min(hole, size)
    }
    if (start >= size) break
    const r = copyRange(from, to, start, end)
    if (r < 0) return r
    at = end
  }
  return 0
}

function copyRange(from: number, to: number, start: number, end: number): number {
  for (let at = start; at < end;) {
    const n = copyFileRange(from, at, to, at, Math.min(end - at, 0x7ffff000))
    if (n === -E.EINTR) continue
    // Not for this pair of filesystems, or this kind of file: by hand. Zero bytes: so do some pseudo files.
    if (n === 0 || n === -E.EXDEV || n === -E.EOPNOTSUPP || n === -E.EINVAL || n === -E.ENOSYS || n === -E.EBADF)
      return Math.min(0, copyByHand(from, to, at, end))
    if (n < 0) return n
    at += n
  }
  return 0
}

const CHUNK = 1024 * 1024
let block: Buffer | undefined

/** The bytes copied, fewer where the source ends; or `-errno`. */
function copyByHand(from: number, to: number, start: number, end: number): number {
  const buffer = end - start <= BLOCK ? (block ??= alloc(BLOCK)) : alloc(Math.min(CHUNK, end - start))
  const address = addressOf(buffer)
  for (let at = start; at < end;) {
    const n = preadAt(from, address, Math.min(buffer.length, end - at), at)
    if (n === -E.EINTR) continue
    if (n <= 0) return n < 0 ? n : at - start
    for (let done = 0; done < n;) {
      const written = pwriteAt(to, address + done, n - done, at + done)
      if (written === -E.EINTR) continue
      if (written < 0) return written
      done += written
    }
    at += n
  }
  return end - start
}
