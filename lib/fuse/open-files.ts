/**
 * Owns how the kernel does the I/O of each open inode: cached, passthrough or direct, and the backing ids of passthrough
 * (FUSE_DEV_IOC_BACKING_OPEN/CLOSE, Linux 6.9). Two kernel rules (fs/fuse/iomode.c), else EIO:
 * - an inode is in cached or in passthrough mode, never in both;
 * - all passthrough opens of an inode use one backing id.
 * A mapping counts as an open, and its RELEASE comes when it is gone: so a count of opens per inode is enough.
 * Invariant: one mode per inode from its first open to its last release; one id per inode in passthrough mode.
 */
import { E } from '../errno.js'
import { OpenMode, type NodeId, type OpenResult } from '../union/filesystem.js'
import { O } from '../sys/constants.js'
import { ioctl } from '../sys/file.js'
import { addressOf, alloc } from '../sys/libc.js'
import { BACKING_CLOSE, BACKING_OPEN, FOpen } from './protocol.js'

interface OpenNode {
  mode: OpenMode
  opens: number
  /** Passthrough opens whose writable mappings would change mtime without telling anybody: mmap(2) wants O_RDWR for one. */
  writers: number
  backing: number
  /** OpenResult.backingKey of the file behind `backing`. */
  key: number
}

/** Registrations kept for files that are not open; each keeps a file of the kernel's, some 300 bytes. */
const KEPT = 8192

export class OpenFiles {
  readonly #fd: number
  readonly #nodes = new Map<NodeId, OpenNode>()
  readonly #word = alloc(16)
  readonly #address = addressOf(this.#word)
  /** Ids of files that were closed and may be opened again, by OpenResult.backingKey, in the order of their last use. */
  readonly #kept = new Map<number, number>()
  #writers = 0
  #passthrough = false

  constructor(fd: number) {
    this.#fd = fd
  }

  /** Whether the kernel takes backing files from this process, found out by trying with `fd`, any regular file. */
  enablePassthrough(fd: number): boolean {
    const id = this.#backingOpen(fd)
    if (id < 0) return false
    this.#backingClose(id)
    this.#passthrough = true
    return true
  }

  /** How many inodes are open. */
  get size(): number {
    return this.#nodes.size
  }

  /** `timeout`, or 0 while attributes of `node` can change without a request (a writable mapping in passthrough). */
  attrTimeout(node: NodeId, timeout: number): number {
    return this.#writers !== 0 && (this.#nodes.get(node)?.writers ?? 0) > 0 ? 0 : timeout
  }

  /**
   * Counts an open of `node` that the filesystem has answered with `result`, and settles its mode. Returns the
   * open_out.open_flags; `backingId` has the id to send with it.
   */
  open(node: NodeId, flags: number, result: OpenResult): number {
    let open = this.#nodes.get(node)
    if (open === undefined) {
      open = { mode: OpenMode.Cached, opens: 0, writers: 0, backing: 0, key: 0 }
      if (result.mode === OpenMode.Passthrough && this.#passthrough) {
        const id = this.#register(result)
        if (id > 0) {
          open.mode = OpenMode.Passthrough
          open.backing = id
          open.key = result.backingKey
        }
      } else if (result.mode === OpenMode.Direct) open.mode = OpenMode.Direct
      this.#nodes.set(node, open)
    }
    open.opens++
    this.backingId = 0
    this.becameMappable = false
    switch (open.mode) {
      case OpenMode.Passthrough:
        this.backingId = open.backing
        if ((flags & O.ACCMODE) === O.RDWR) {
          this.becameMappable = ++open.writers === 1
          this.#writers++
        }
        return FOpen.PASSTHROUGH | FOpen.NOFLUSH
      case OpenMode.Direct:
        return FOpen.DIRECT_IO | FOpen.PARALLEL_DIRECT_WRITES | FOpen.NOFLUSH
      case OpenMode.Cached:
        if (result.mode === OpenMode.Direct) return FOpen.DIRECT_IO | FOpen.PARALLEL_DIRECT_WRITES | FOpen.NOFLUSH
        return FOpen.NOFLUSH | (result.keepCache ? FOpen.KEEP_CACHE : 0)
    }
  }
  /** After `open`: the backing id to send, 0 without passthrough. */
  backingId = 0
  /** After `open`: from now on the kernel's cached attributes of the inode may be wrong. */
  becameMappable = false

  /** Counts a release; `flags` are those of the open (release_in.flags). */
  release(node: NodeId, flags: number): void {
    const open = this.#nodes.get(node)
    if (open === undefined) return
    if (open.mode === OpenMode.Passthrough && (flags & O.ACCMODE) === O.RDWR) {
      open.writers--
      this.#writers--
    }
    if (--open.opens > 0) return
    this.#nodes.delete(node)
    if (open.backing > 0) this.#unregister(open.backing, open.key)
  }

  #register(result: OpenResult): number {
    const kept = result.backingKey > 0 ? this.#kept.get(result.backingKey) : undefined
    if (kept === undefined) return this.#backingOpen(result.backingFd)
    this.#kept.delete(result.backingKey)
    return kept
  }

  #unregister(id: number, key: number): void {
    if (key === 0 || this.#kept.has(key)) {
      this.#backingClose(id)
      return
    }
    this.#kept.set(key, id)
    if (this.#kept.size <= KEPT) return
    for (const [oldest, oldId] of this.#kept) {
      this.#kept.delete(oldest)
      this.#backingClose(oldId)
      return
    }
  }

  #backingOpen(fd: number): number {
    this.#word.fill(0)
    this.#word.writeInt32LE(fd, 0)
    const id = ioctl(this.#fd, BACKING_OPEN, this.#address)
    return id === 0 ? -E.EINVAL : id
  }

  #backingClose(id: number): void {
    this.#word.writeUInt32LE(id, 0)
    ioctl(this.#fd, BACKING_CLOSE, this.#address)
  }
}
