/**
 * Owns looking at file data: whether two files hold the same bytes, and reading one.
 * Invariant: nothing is read that a digest, a size or an inode number already answers.
 */
import { E, FsError } from '../errno.js'
import { close, pread } from '../sys/file.js'
import { fstat, Stat } from '../sys/stat.js'
import type { Entry, MergedTree } from './merged.js'

const CHUNK = 256 * 1024
const left = Buffer.alloc(CHUNK)
const right = Buffer.alloc(CHUNK)
const leftStat = new Stat()
const rightStat = new Stat()

/** Reads until `into` is full or the file ends. Returns the bytes read; throws FsError. */
export function readFully(fd: number, into: Uint8Array, position: number, path: string): number {
  let done = 0
  while (done < into.length) {
    const n = pread(fd, done === 0 ? into : into.subarray(done), position + done)
    if (n === -E.EINTR) continue
    if (n < 0) throw new FsError(n, 'read', path)
    if (n === 0) break
    done += n
  }
  return done
}

/** Whether two regular files hold the same bytes. Throws FsError when one cannot be read. */
export function sameContent(a: MergedTree, ea: Entry, b: MergedTree, eb: Entry): boolean {
  if (ea.attributes.size !== eb.attributes.size) return false
  if (ea.attributes.size === 0) return true
  const pa = a.data(ea)
  const pb = b.data(eb)
  if (pa.layer === pb.layer && pa.path === pb.path) return true
  const da = a.digest(ea)
  if (da !== undefined) {
    const db = b.digest(eb)
    if (db !== undefined) return da === db
  }
  const fa = a.open(ea)
  try {
    const fb = b.open(eb)
    try {
      return sameInode(fa, fb) || sameBytes(fa, ea.path, fb, eb.path)
    } finally {
      close(fb)
    }
  } finally {
    close(fa)
  }
}

function sameInode(fa: number, fb: number): boolean {
  return (
    fstat(fa, leftStat) >= 0 &&
    fstat(fb, rightStat) >= 0 &&
    leftStat.dev === rightStat.dev &&
    leftStat.ino === rightStat.ino
  )
}

function sameBytes(fa: number, pathA: string, fb: number, pathB: string): boolean {
  for (let at = 0; ; at += CHUNK) {
    const n = readFully(fa, left, at, pathA)
    const m = readFully(fb, right, at, pathB)
    if (n !== m || left.compare(right, 0, m, 0, n) !== 0) return false
    if (n < CHUNK) return true
  }
}

/** Reads a regular file's data, at most `limit` bytes of it. Throws FsError. */
export function readContent(tree: MergedTree, entry: Entry, limit = Number.MAX_SAFE_INTEGER): Buffer {
  const size = Math.min(entry.attributes.size, limit)
  if (size === 0) return Buffer.alloc(0)
  const fd = tree.open(entry)
  try {
    const data = Buffer.allocUnsafeSlow(size)
    return data.subarray(0, readFully(fd, data, 0, entry.path))
  } finally {
    close(fd)
  }
}

/** Hands a regular file's data to `each` in chunks of up to 256 KiB, each valid during the call only. Throws FsError. */
export function eachChunk(tree: MergedTree, entry: Entry, each: (chunk: Buffer) => void): void {
  if (entry.attributes.size === 0) return
  const chunk = Buffer.allocUnsafeSlow(CHUNK)
  const fd = tree.open(entry)
  try {
    for (let at = 0; ; at += CHUNK) {
      const n = readFully(fd, chunk, at, entry.path)
      if (n > 0) each(chunk.subarray(0, n))
      if (n < CHUNK) return
    }
  } finally {
    close(fd)
  }
}
