/**
 * Owns the packing of directory listings: fuse_dirent (24 bytes + name) and fuse_direntplus (152 bytes + name), each
 * padded to 8 bytes (linux/fuse.h). Invariant: never more than the room the kernel gave; an entry is whole or absent.
 */
import type { DirSink, Entry } from '../union/filesystem.js'
import type { OpenFiles } from './open-files.js'
import { OUT_HEADER, Size } from './protocol.js'
import type { Reply } from './reply.js'

export class Dirents implements DirSink {
  plus = false
  #at = OUT_HEADER
  #end = OUT_HEADER
  #nameAt = 0
  readonly #reply: Reply
  readonly #files: OpenFiles

  constructor(reply: Reply, files: OpenFiles) {
    this.#reply = reply
    this.#files = files
  }

  /** Begins a listing of at most `size` bytes. */
  begin(plus: boolean, size: number): void {
    this.plus = plus
    this.#at = OUT_HEADER
    this.#end = OUT_HEADER + size
  }

  /** Bytes packed so far. */
  get length(): number {
    return this.#at - OUT_HEADER
  }

  name(name: string, ino: number, type: number, offset: number): boolean {
    if (!this.#dirent(this.#at, name.length, ino, type, offset)) return false
    this.#reply.buffer.latin1Write(name, this.#nameAt)
    return true
  }

  entry(names: Buffer, from: number, to: number, offset: number, entry: Entry, type: number): boolean {
    const at = this.#at
    const reply = this.#reply
    if (!this.#dirent(at + Size.entryOut, to - from, entry.attr.ino, type, offset)) return false
    const { buffer } = reply
    for (let i = from, k = this.#nameAt; i < to; i++, k++) buffer[k] = names[i] as number
    // With nodeid 0 the kernel takes the name and makes no inode of it.
    if (entry.nodeid === 0) reply.zero(at, at + Size.entryOut)
    else reply.entryOut(at, entry, this.#files.attrTimeout(entry.nodeid, entry.attrTimeout))
    return true
  }

  /** All of a dirent at `at` but the name itself, whose place is `#nameAt` then. False: there is no room. */
  #dirent(at: number, length: number, ino: number, type: number, offset: number): boolean {
    const next = at + ((Size.dirent + length + 7) & ~7)
    if (next > this.#end) return false
    const reply = this.#reply
    reply.u64(at, ino)
    reply.u64(at + 8, offset)
    reply.u32(at + 16, length)
    reply.u32(at + 20, type)
    this.#nameAt = at + Size.dirent
    for (let pad = this.#nameAt + length; pad < next; pad++) reply.buffer[pad] = 0
    this.#at = next
    return true
  }

  /** Calls `each` with the nodeid of every packed entry that counts as a lookup (to take them back). */
  counted(each: (node: number) => void): void {
    if (!this.plus) return
    for (let at = OUT_HEADER; at < this.#at;) {
      const node = this.#reply.readU64(at)
      if (node !== 0) each(node)
      at += (Size.direntplus + this.#reply.readU32(at + Size.entryOut + 16) + 7) & ~7
    }
  }
}
