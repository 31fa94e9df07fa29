/**
 * Owns the buffer that replies are written from: fuse_out_header (16 bytes) then the opcode's record (linux/fuse.h).
 * Positions are offsets into the whole buffer, so the first byte after the header is at 16. Timeouts are seconds.
 * Invariant: a reply leaves in exactly one write(2); the kernel takes nothing less.
 */
import type { Entry, Io } from '../union/filesystem.js'
import { addressOf, alloc } from '../sys/libc.js'
import type { Stat, StatFs } from '../sys/stat.js'
import { devOf } from '../sys/constants.js'
import { MAX_IO, OUT_HEADER } from './protocol.js'

const CAPACITY = OUT_HEADER + MAX_IO + 4096

/** STATX_BASIC_STATS | STATX_BTIME. */
const STATX_MASK = 0xfff
/** The attribute bits we can tell: COMPRESSED, IMMUTABLE, APPEND, NODUMP (statx(2)). */
const STATX_ATTRIBUTES = 0x74

export class Reply implements Io {
  readonly buffer = alloc(CAPACITY)
  readonly address = addressOf(this.buffer)
  readonly #view = new DataView(this.buffer.buffer, this.buffer.byteOffset, CAPACITY)

  /** Fills the header for `payload` bytes, or an error (`-errno`, no payload). Returns the length to write. */
  header(uniqueLow: number, uniqueHigh: number, error: number, payload: number): number {
    const view = this.#view
    const length = OUT_HEADER + payload
    view.setUint32(0, length, true)
    view.setInt32(4, error, true)
    view.setUint32(8, uniqueLow, true)
    view.setUint32(12, uniqueHigh, true)
    return length
  }

  u32(at: number, value: number): void {
    this.#view.setUint32(at, value, true)
  }

  u16(at: number, value: number): void {
    this.#view.setUint16(at, value, true)
  }

  /** Exact for integers of magnitude below 2^53, negative ones as two's complement. */
  u64(at: number, value: number): void {
    this.#view.setUint32(at, value >>> 0, true)
    this.#view.setInt32(at + 4, Math.floor(value / 0x100000000), true)
  }

  zero(from: number, to: number): void {
    this.buffer.fill(0, from, to)
  }

  readU64(at: number): number {
    return this.#view.getUint32(at + 4, true) * 0x100000000 + this.#view.getUint32(at, true)
  }

  readU32(at: number): number {
    return this.#view.getUint32(at, true)
  }

  /** fuse_attr: 88 bytes. */
  attr(at: number, st: Stat): void {
    const view = this.#view
    this.u64(at, st.ino)
    this.u64(at + 8, st.size)
    this.u64(at + 16, st.blocks)
    this.u64(at + 24, st.atime)
    this.u64(at + 32, st.mtime)
    this.u64(at + 40, st.ctime)
    view.setUint32(at + 48, st.atimeNs, true)
    view.setUint32(at + 52, st.mtimeNs, true)
    view.setUint32(at + 56, st.ctimeNs, true)
    view.setUint32(at + 60, st.mode, true)
    view.setUint32(at + 64, st.nlink, true)
    view.setUint32(at + 68, st.uid, true)
    view.setUint32(at + 72, st.gid, true)
    view.setUint32(at + 76, st.rdev, true)
    view.setUint32(at + 80, st.blksize, true)
    view.setUint32(at + 84, 0, true)
  }

  /** fuse_attr_out: 104 bytes. */
  attrOut(at: number, timeout: number, st: Stat): void {
    this.#timeout(at, at + 8, timeout)
    this.#view.setUint32(at + 12, 0, true)
    this.attr(at + 16, st)
  }

  /** fuse_entry_out: 128 bytes. `attrTimeout` overrides the entry's. */
  entryOut(at: number, entry: Entry, attrTimeout: number): void {
    this.u64(at, entry.nodeid)
    this.u64(at + 8, entry.generation)
    this.#timeout(at + 16, at + 32, entry.entryTimeout)
    this.#timeout(at + 24, at + 36, attrTimeout)
    this.attr(at + 40, entry.attr)
  }

  /** fuse_statx_out: 288 bytes. */
  statxOut(at: number, timeout: number, st: Stat): void {
    const view = this.#view
    this.zero(at, at + 288)
    this.#timeout(at, at + 8, timeout)
    const x = at + 32
    view.setUint32(x, STATX_MASK, true)
    view.setUint32(x + 4, st.blksize, true)
    view.setUint32(x + 8, st.attributes & STATX_ATTRIBUTES, true)
    view.setUint32(x + 16, st.nlink, true)
    view.setUint32(x + 20, st.uid, true)
    view.setUint32(x + 24, st.gid, true)
    view.setUint16(x + 28, st.mode, true)
    this.u64(x + 32, st.ino)
    this.u64(x + 40, st.size)
    this.u64(x + 48, st.blocks)
    view.setUint32(x + 56, STATX_ATTRIBUTES, true)
    this.#time(x + 64, st.atime, st.atimeNs)
    this.#time(x + 80, st.btime, st.btimeNs)
    this.#time(x + 96, st.ctime, st.ctimeNs)
    this.#time(x + 112, st.mtime, st.mtimeNs)
    const rdev = devOf(st.rdev)
    view.setUint32(x + 128, rdev.major, true)
    view.setUint32(x + 132, rdev.minor, true)
  }

  /** fuse_statfs_out: 80 bytes. */
  statfsOut(at: number, st: StatFs): void {
    this.zero(at, at + 80)
    this.u64(at, st.blocks)
    this.u64(at + 8, st.bfree)
    this.u64(at + 16, st.bavail)
    this.u64(at + 24, st.files)
    this.u64(at + 32, st.ffree)
    this.u32(at + 40, st.bsize)
    this.u32(at + 44, st.namelen)
    this.u32(at + 48, st.frsize)
  }

  #time(at: number, seconds: number, nanoseconds: number): void {
    this.u64(at, seconds)
    this.#view.setUint32(at + 8, nanoseconds, true)
  }

  #timeout(secondsAt: number, nanosecondsAt: number, timeout: number): void {
    const whole = Math.min(Math.floor(timeout), 0x7fffffff)
    this.u64(secondsAt, whole)
    this.#view.setUint32(
      nanosecondsAt,
      timeout > whole && timeout < 0x7fffffff ? Math.floor((timeout - whole) * 1e9) : 0,
      true,
    )
  }
}
