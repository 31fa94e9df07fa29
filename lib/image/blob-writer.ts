/** Owns a blob on its way into the store: hashed, and written, as its bytes come. The disk begins to write early. */
import { createHash } from 'node:crypto'
import { bytesOf } from '../bytes.js'
import { type Digest, digestOf } from '../digest.js'
import { check } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, fdatasync, open, pwriteAll, startWriteback } from '../sys/file.js'

const WRITEBACK_STEP = 8 << 20

/** Hashes a blob and, given a path, writes it. */
export class BlobWriter {
  readonly #hash = createHash('sha256')
  readonly #path: string | undefined
  #fd = -1
  #writeback = 0
  size = 0

  constructor(path: string | undefined) {
    this.#path = path
    if (path !== undefined) this.#fd = check(open(bytesOf(path), O.WRONLY | O.CREAT | O.EXCL, 0o600), 'open', path)
  }

  write(chunk: Buffer): void {
    this.#hash.update(chunk)
    if (this.#fd >= 0) check(pwriteAll(this.#fd, chunk, this.size), 'write', this.#path)
    this.size += chunk.length
    if (this.#fd >= 0 && this.size - this.#writeback >= WRITEBACK_STEP) {
      startWriteback(this.#fd, this.#writeback, this.size - this.#writeback)
      this.#writeback = this.size
    }
  }

  finish(): Digest {
    return digestOf(this.#hash.digest())
  }

  sync(): void {
    if (this.#fd >= 0) check(fdatasync(this.#fd), 'fsync', this.#path)
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd)
    this.#fd = -1
  }
}
