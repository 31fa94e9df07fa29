/**
 * Owns lower files that were open and may be opened again: their fds are kept for a while, so that reading a file once
 * more takes neither an open nor, with passthrough, a registration with the kernel (`OpenResult.backingKey`).
 * Files are known by inode number, which is the file's in the union for as long as it lives; lowers never change.
 * Invariant: an fd is either kept here or belongs to one handle.
 */
import { LRUCache } from 'lru-cache'
import { close, fileLimit } from '../sys/file.js'

/** A tree of some thousand files is read again without opening one, and most fds are left for what is open. */
const KEPT = 8192

interface Kept {
  readonly fd: number
  readonly key: number
}

export class LowerFiles {
  readonly #kept = new LRUCache<number, Kept>({
    max: Math.max(16, Math.min(KEPT, Math.floor(fileLimit() / 4))),
    // Taken ones ('delete') are still in use.
    dispose: (file, _, reason) => {
      if (reason !== 'delete') close(file.fd)
    },
  })
  #keys = 0
  /** Of the fd that `take` has returned: a number that no other open file ever has. */
  key = 0

  /** An open fd of the file, now the caller's, or -1. */
  take(ino: number): number {
    const file = this.#kept.get(ino)
    if (file === undefined) return -1
    this.#kept.delete(ino)
    this.key = file.key
    return file.fd
  }

  /** A key for a file that was opened just now. */
  newKey(): number {
    return (this.key = ++this.#keys)
  }

  /** Keeps an fd that a handle needs no more. */
  keep(ino: number, fd: number, key: number): void {
    this.#kept.set(ino, { fd, key })
  }

  close(): void {
    for (const file of this.#kept.values()) close(file.fd)
    this.#kept.clear()
  }
}
