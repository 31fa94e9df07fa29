/**
 * Owns the buffer that requests are read into, and the typed view of it: header fields, u32/u64 fields, names.
 * Formats: fuse_in_header (40 bytes) then the opcode's struct, then NUL-terminated names or data, then extensions
 * (linux/fuse.h). A u64 is read as a number: node ids, handles and file offsets are below 2^53.
 * Invariant: no read goes past the bytes of the current request, whatever its fields say.
 */
import { ROOT, type Caller, type Io } from '../union/filesystem.js'
import { addressOf, alloc } from '../sys/libc.js'
import { EXT_GROUPS, IN_HEADER, MAX_IO } from './protocol.js'
import { TREE_NODE } from './tree.js'

/** read(2) on /dev/fuse wants room for max_write and its headers (else EINVAL); a page more keeps it simple. */
const CAPACITY = MAX_IO + 4096
/** Header and fuse_setattr_in. */
const LARGEST_STRUCT = IN_HEADER + 88

export class Request implements Io {
  readonly buffer = alloc(CAPACITY)
  readonly address = addressOf(this.buffer)
  readonly capacity = CAPACITY
  readonly caller: Caller = { uid: 0, gid: 0, pid: 0, umask: 0, supplementaryGid: -1 }
  length = 0
  opcode = 0
  uniqueLow = 0
  uniqueHigh = 0
  node = 0
  /** The request is for the root by its second id (tree.ts). */
  byTree = false
  /** Where the extensions begin; `length` without any. Names and data end here. */
  end = 0
  readonly #view = new DataView(this.buffer.buffer, this.buffer.byteOffset, CAPACITY)

  /** Takes the header of the `length` bytes just read. False: they are no request (the session ends). */
  accept(length: number): boolean {
    const view = this.#view
    if (length < IN_HEADER || view.getUint32(0, true) !== length) return false
    // A struct that is cut short reads as zeros, not as what an earlier request left.
    if (length < LARGEST_STRUCT) this.buffer.fill(0, length, LARGEST_STRUCT)
    this.length = length
    this.opcode = view.getUint32(4, true)
    this.uniqueLow = view.getUint32(8, true)
    this.uniqueHigh = view.getUint32(12, true)
    this.node = this.nodeAt(16)
    this.byTree = this.node === ROOT && view.getUint32(20, true) !== 0
    const caller = this.caller
    caller.uid = view.getUint32(24, true)
    caller.gid = view.getUint32(28, true)
    caller.pid = view.getUint32(32, true)
    caller.umask = 0
    caller.supplementaryGid = -1
    this.end = Math.max(IN_HEADER, length - view.getUint16(36, true) * 8)
    return true
  }

  u32(at: number): number {
    return this.#view.getUint32(at, true)
  }

  i32(at: number): number {
    return this.#view.getInt32(at, true)
  }

  u64(at: number): number {
    return this.#view.getUint32(at + 4, true) * 0x100000000 + this.#view.getUint32(at, true)
  }

  /** A node id. */
  nodeAt(at: number): number {
    const node = this.u64(at)
    return node === TREE_NODE ? ROOT : node
  }

  /** A signed 64-bit field (times before 1970). */
  i64(at: number): number {
    return this.#view.getInt32(at + 4, true) * 0x100000000 + this.#view.getUint32(at, true)
  }

  /** The NUL-terminated byte string at `at`; cut at the end of the request. */
  name(at: number): string {
    return this.buffer.latin1Slice(at, this.nameEnd(at))
  }

  /** Where the name at `at` has its NUL. */
  nameEnd(at: number): number {
    let end = at
    while (end < this.end && this.buffer[end] !== 0) end++
    return end
  }

  /** The bytes from `at`, `size` of them, or as many as there are. A view of the buffer: copy it to keep it. */
  bytes(at: number, size: number): Buffer {
    return this.buffer.subarray(at, Math.min(at + size, this.end))
  }

  /** Reads the group that FUSE_CREATE_SUPP_GROUP sends with creates into `caller`. */
  takeGroups(): void {
    for (let at = this.end; at + 8 <= this.length;) {
      const size = this.u32(at)
      if (size < 8 || at + size > this.length) return
      if (this.u32(at + 4) === EXT_GROUPS && size >= 16 && this.u32(at + 8) > 0) {
        this.caller.supplementaryGid = this.u32(at + 12)
        return
      }
      at += size
    }
  }

  /** A copy of the whole request, to be given back to `restore`. */
  save(): Buffer {
    return Buffer.from(this.buffer.subarray(0, this.length))
  }

  /** Makes a saved request the current one. */
  restore(saved: Buffer): void {
    saved.copy(this.buffer)
    this.accept(saved.length)
  }
}
