/**
 * Owns what the server tells the kernel unasked: fuse_out_header with unique 0 and the notification's code as `error`.
 * Rule of the house: from the serving thread only attribute-only INVAL_INODE and INC_EPOCH are safe, and STORE for an inode
 * that is not open. INVAL_ENTRY and INVAL_INODE with data take locks that a request in flight may hold, and deadlock: they go
 * from a thread that never serves. Results are 0 or `-errno` (ENOENT: the kernel has no such inode, which is as good).
 */
import type { Io, NodeId } from '../union/filesystem.js'
import { writeAt } from '../sys/file.js'
import { addressOf, alloc } from '../sys/libc.js'
import { Notify, OUT_HEADER } from './protocol.js'

/** Bytes of fuse_notify_store_out. */
const STORE_OUT = 24

export class Notifier {
  /** Where the data for `store` goes, from `dataAt` on. */
  readonly data: Io
  readonly dataAt = OUT_HEADER + STORE_OUT
  readonly #fd: number
  readonly #buffer: Buffer
  readonly #address: number

  /** `room`: the most bytes of data that `store` will be given. */
  constructor(fd: number, room: number) {
    this.#fd = fd
    this.#buffer = alloc(OUT_HEADER + Math.max(STORE_OUT + room, 40 + 256))
    this.#address = addressOf(this.#buffer)
    this.data = { buffer: this.#buffer, address: this.#address }
  }

  /** Drops the cached attributes of `node`, keeps its pages. Safe from the serving thread. */
  invalidateAttributes(node: NodeId): number {
    return this.#inode(node, -1, 0)
  }

  /** Drops attributes and all cached pages. Never from the serving thread. */
  invalidateData(node: NodeId): number {
    return this.#inode(node, 0, 0)
  }

  /** Drops the cached name (a negative one too). Never from the serving thread. */
  invalidateEntry(parent: NodeId, name: string): number {
    this.#buffer.fill(0)
    this.#u64(OUT_HEADER, parent)
    this.#buffer.writeUInt32LE(name.length, OUT_HEADER + 8)
    this.#buffer.latin1Write(name, OUT_HEADER + 16)
    return this.#send(Notify.INVAL_ENTRY, 16 + name.length + 1)
  }

  /** Makes every cached name be looked up again (Linux 6.16; EINVAL below). Safe from the serving thread. */
  invalidateNames(): number {
    return this.#send(Notify.INC_EPOCH, 0)
  }

  /**
   * Puts the first `size` bytes of `node`, which are in `data`, into the page cache. It waits for the locks of those pages, which
   * a READ holds until it is answered: from the serving thread only while the inode is not open.
   */
  store(node: NodeId, size: number): number {
    this.#u64(OUT_HEADER, node)
    this.#u64(OUT_HEADER + 8, 0)
    this.#buffer.writeUInt32LE(size, OUT_HEADER + 16)
    this.#buffer.writeUInt32LE(0, OUT_HEADER + 20)
    return this.#send(Notify.STORE, STORE_OUT + size)
  }

  #inode(node: NodeId, offset: number, length: number): number {
    this.#u64(OUT_HEADER, node)
    this.#u64(OUT_HEADER + 8, offset)
    this.#u64(OUT_HEADER + 16, length)
    return this.#send(Notify.INVAL_INODE, 24)
  }

  #u64(at: number, value: number): void {
    this.#buffer.writeUInt32LE(value >>> 0, at)
    this.#buffer.writeInt32LE(Math.floor(value / 0x100000000), at + 4)
  }

  #send(code: number, payload: number): number {
    this.#buffer.writeUInt32LE(OUT_HEADER + payload, 0)
    this.#buffer.writeInt32LE(code, 4)
    this.#u64(8, 0)
    const r = writeAt(this.#fd, this.#address, OUT_HEADER + payload)
    return r < 0 ? r : 0
  }
}
