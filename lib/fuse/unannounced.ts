/**
 * Owns the files of a mount whose opens the kernel does not announce: OPEN was answered ENOSYS once (FUSE_NO_OPEN_SUPPORT), and since
 * then opening and closing cost no request, nor does reading what the page cache has. I/O comes with the inode alone, so the handles
 * that the filesystem wants are opened here when the first of it comes, and kept for the next: the ones used last.
 *
 * What that means: nobody knows whether an inode is open, so one that the kernel has looked up may be. A file is copied up by its first
 * WRITE, not by its open, and what keeps it from that (a full disk) is told as it is for all cached writes: by close or fsync.
 * Invariant: at most one handle per inode, gone before the kernel's last lookup is.
 */
import { LRUCache } from 'lru-cache'
import { type Caller, type Filesystem, type NodeId, notOpened } from '../union/filesystem.js'
import { O } from '../sys/constants.js'

/** Handles kept open. What is read is in the page cache afterwards, so few files are asked for again and again. */
const KEPT = 128

interface Open {
  readonly handle: number
  readonly writable: boolean
}

export class Unannounced {
  readonly #fs: Filesystem
  readonly #open: LRUCache<NodeId, Open>
  readonly #result = notOpened()

  constructor(filesystem: Filesystem) {
    this.#fs = filesystem
    this.#open = new LRUCache({ max: KEPT, dispose: (open, node) => filesystem.release(node, open.handle) })
  }

  /** A handle that reads `node`, or `-errno`. */
  reader(caller: Caller, node: NodeId): number {
    return this.#open.get(node)?.handle ?? this.#opened(caller, node, O.RDONLY)
  }

  /** A handle that writes `node`, and reads it, after its copy-up; or PENDING, or `-errno`. */
  writer(caller: Caller, node: NodeId): number {
    const open = this.#open.get(node)
    if (open?.writable === true) return open.handle
    // The filesystem counts who has it open: a file that is only to be written may be copied block by block.
    this.forget(node)
    return this.#opened(caller, node, O.WRONLY)
  }

  /** Takes over the handle that an open, CREATE or TMPFILE with `flags` has given. */
  adopt(node: NodeId, handle: number, flags: number): void {
    this.#open.set(node, { handle, writable: (flags & O.ACCMODE) !== O.RDONLY })
  }

  /** The kernel forgets `node`, or some of its lookups. */
  forget(node: NodeId): void {
    this.#open.delete(node)
  }

  #opened(caller: Caller, node: NodeId, flags: number): number {
    const r = this.#fs.open(caller, node, flags, false, this.#result)
    if (r < 0) return r
    this.adopt(node, this.#result.handle, flags)
    return this.#result.handle
  }
}
