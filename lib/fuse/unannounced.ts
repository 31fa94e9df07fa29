/**
 * Owns the files of a mount whose opens the kernel does not announce: OPEN was answered ENOSYS once (FUSE_NO_OPEN_SUPPORT), and since
 * then opening and closing cost no request, nor does reading what the page cache has. I/O comes with the inode alone, so the handles
 * that the filesystem wants are opened here when the first of it comes, and kept for the next: the ones used last.
 *
 * What that means: nobody knows whether an inode is open, so one that the kernel has looked up may be. A file is copied up by its first
 * WRITE, not by its open, and what keeps it from that (a full disk) is told as it is for all cached writes: by close or fsync.
 * Invariant: at most one handle per inode, gone before the kernel's last lookup is.
 */
import { type Caller, type Filesystem, type NodeId, notOpened } from '../union/filesystem.js'
import { O } from '../sys/constants.js'

/** Handles kept open. What is read is in the page cache afterwards, so few files are asked for again and again. */
const KEPT = 128

interface Open {
  readonly node: NodeId
  readonly handle: number
  readonly writable: boolean
}

export class Unannounced {
  readonly #fs: Filesystem
  /** In the order of their last use. */
  readonly #open = new Map<NodeId, Open>()
  readonly #result = notOpened()
  #last: Open | undefined

  constructor(filesystem: Filesystem) {
    this.#fs = filesystem
  }

  /** A handle that reads `node`, or `-errno`. */
  reader(caller: Caller, node: NodeId): number {
    const open = this.#used(node)
    return open === undefined ? this.#opened(caller, node, O.RDONLY) : open.handle
  }

  /** A handle that writes `node`, and reads it, after its copy-up; or PENDING, or `-errno`. */
  writer(caller: Caller, node: NodeId): number {
    const open = this.#used(node)
    if (open?.writable === true) return open.handle
    // The filesystem counts who has it open: a file that is only to be written may be copied block by block.
    this.forget(node)
    return this.#opened(caller, node, O.WRONLY)
  }

  /** Takes over the handle that a CREATE or TMPFILE opened with `flags`. */
  adopt(node: NodeId, handle: number, flags: number): void {
    this.forget(node)
    this.#keep({ node, handle, writable: (flags & O.ACCMODE) !== O.RDONLY })
  }

  /** The kernel forgets `node`, or some of its lookups. */
  forget(node: NodeId): void {
    const open = this.#open.get(node)
    if (open !== undefined) this.#close(open)
  }

  #used(node: NodeId): Open | undefined {
    if (this.#last?.node === node) return this.#last
    const open = this.#open.get(node)
    if (open === undefined) return undefined
    this.#open.delete(node)
    this.#open.set(node, open)
    this.#last = open
    return open
  }

  #opened(caller: Caller, node: NodeId, flags: number): number {
    const r = this.#fs.open(caller, node, flags, false, this.#result)
    if (r < 0) return r
    const { handle } = this.#result
    this.#keep({ node, handle, writable: flags !== O.RDONLY })
    return handle
  }

  #keep(open: Open): void {
    this.#open.set(open.node, open)
    this.#last = open
    if (this.#open.size <= KEPT) return
    for (const oldest of this.#open.values()) {
      this.#close(oldest)
      return
    }
  }

  #close(open: Open): void {
    this.#open.delete(open.node)
    if (this.#last === open) this.#last = undefined
    this.#fs.release(open.node, open.handle)
  }
}
