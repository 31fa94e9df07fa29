/**
 * Owns file contents on their way into the store: `ObjectSink` hashes each file while it writes it, once, under its
 * SHA-256. Runs of zeros become holes.
 * Invariant: an object's name appears only after its content is on disk (a sync, then `nameObjects`), and an object that is
 * there already is not written again.
 */
import { createHash, type Hash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { check, E } from '../errno.js'
import { EMPTY_SHA256, RESERVED } from '../layer/erofs-format.js'
import type { ObjectWriter } from '../layer/tar-ingest.js'
import { O } from '../sys/constants.js'
import { mkdirat, renameat2, unlinkat } from '../sys/dir.js'
import { close, ftruncate, open, openat, pwriteAll, startWriteback, syncfs } from '../sys/file.js'
import { fchmod, Stat, statat } from '../sys/stat.js'

/** Files up to this size are collected in memory, so that a duplicate costs no write at all. */
const SMALL = 1024 * 1024
/** Zeros are looked for in units of this: what a hole has to be on common filesystems. */
const HOLE_UNIT = 4096
/** The disk works while the import does: else commit() would wait for all of it at the end. */
const WRITEBACK_STEP = 8 * 1024 * 1024
const WRITEBACK_SMALL = 64 * 1024
const zeros = Buffer.alloc(64 * 1024)
const restrictive = (process.umask() & 0o444) !== 0

export class ObjectSink implements ObjectWriter {
  readonly #objects: number
  readonly #objectsPath: string
  readonly #staging: number
  readonly #stagingPath: string
  readonly #staged = new Set<string>()
  readonly #directories = new Set<string>()
  readonly #small = Buffer.allocUnsafeSlow(SMALL)
  readonly #st = new Stat()
  #size = 0
  /** Bytes hashed so far, holes included. */
  #hashed = 0
  #whole: Buffer | undefined
  /** Up to here the disk has been told to write. */
  #writeback = 0
  #hash: Hash | undefined
  #fd = -1
  /** Objects that came new, and their bytes. */
  added = 0
  addedBytes = 0

  /** `objects` is the store's objects directory, `staging` a directory of this import alone. Throws FsError. */
  constructor(objects: string, staging: string) {
    this.#objectsPath = objects
    this.#objects = check(open(bytesOf(`${objects}/${RESERVED}`), O.RDONLY | O.DIRECTORY), 'open', objects)
    this.#staging = check(open(bytesOf(staging), O.RDONLY | O.DIRECTORY), 'open', staging)
    this.#stagingPath = staging
  }

  begin(size: number): void {
    this.#size = size
    this.#hashed = 0
    this.#whole = undefined
    this.#writeback = 0
    if (size > SMALL) {
      this.#hash = createHash('sha256')
      this.#fd = check(openat(this.#staging, 'incoming', O.WRONLY | O.CREAT | O.EXCL, 0o444), 'open', this.#stagingPath)
    }
  }

  write(chunk: Buffer, offset: number): void {
    if (this.#fd < 0) {
      if (offset === 0 && chunk.length === this.#size) {
        // The one chunk is the file: hash and write it from where it lies.
        this.#finishSmall(chunk)
        return
      }
      if (offset > this.#hashed) this.#small.fill(0, this.#hashed, offset)
      chunk.copy(this.#small, offset)
      this.#hashed = offset + chunk.length
      return
    }
    this.#hashZeros(offset - this.#hashed)
    this.#hash?.update(chunk)
    this.#hashed += chunk.length
    this.#writeData(chunk, offset)
    if (this.#hashed - this.#writeback >= WRITEBACK_STEP) {
      startWriteback(this.#fd, this.#writeback, this.#hashed - this.#writeback)
      this.#writeback = this.#hashed
    }
  }

  end(): string {
    if (this.#fd < 0) {
      if (this.#whole === undefined) {
        this.#small.fill(0, this.#hashed, this.#size)
        this.#finishSmall(this.#small.subarray(0, this.#size))
      }
      return this.#hex
    }
    this.#hashZeros(this.#size - this.#hashed)
    const hex = (this.#hash as Hash).digest('hex')
    const fd = this.#fd
    this.#fd = -1
    const r = ftruncate(fd, this.#size)
    startWriteback(fd, this.#writeback, this.#size - this.#writeback)
    if (restrictive) fchmod(fd, 0o444)
    close(fd)
    check(r, 'ftruncate', this.#stagingPath)
    if (this.#has(hex, this.#size)) unlinkat(this.#staging, 'incoming')
    else {
      this.#stagingFor(hex)
      check(renameat2(this.#staging, 'incoming', this.#staging, stagedAt(hex)), 'rename', this.#stagingPath)
      this.#count(hex)
    }
    return hex
  }

  /** Makes all new objects durable, then gives them their names, and makes those durable. May be called more than once. */
  commit(): void {
    if (this.#staged.size === 0) return
    check(syncfs(this.#staging), 'syncfs', this.#stagingPath)
    nameObjects(this.#stagingPath, this.#objectsPath)
    this.#staged.clear()
    check(syncfs(this.#staging), 'syncfs', this.#stagingPath)
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd)
    close(this.#objects)
    close(this.#staging)
    this.#fd = -1
  }

  #hex = ''

  #finishSmall(content: Buffer): void {
    this.#whole = content
    if (content.length === 0) {
      this.#hex = EMPTY_SHA256
      return
    }
    const hex = createHash('sha256').update(content).digest('hex')
    this.#hex = hex
    if (this.#has(hex, content.length)) return
    this.#stagingFor(hex)
    const fd = check(
      openat(this.#staging, stagedAt(hex), O.WRONLY | O.CREAT | O.EXCL, 0o444),
      'open',
      this.#stagingPath,
    )
    const r = pwriteAll(fd, content, 0)
    if (content.length >= WRITEBACK_SMALL) startWriteback(fd, 0, content.length)
    if (restrictive) fchmod(fd, 0o444)
    close(fd)
    check(r, 'write', this.#stagingPath)
    this.#count(hex)
  }

  /** New objects wait in a few directories: in one, making 5,000 files takes ext4 a fifth longer; 256 cost more to make. */
  #stagingFor(hex: string): void {
    const digit = hex.slice(0, 1)
    if (this.#directories.has(digit)) return
    this.#directories.add(digit)
    const r = mkdirat(this.#staging, digit, 0o700)
    if (r !== -E.EEXIST) check(r, 'mkdir', this.#stagingPath)
  }

  #count(hex: string): void {
    this.#staged.add(hex)
    this.added++
    this.addedBytes += this.#size
  }

  /** Whether the store (or this sink) has the object, of whatever size. */
  has(hex: string): boolean {
    return this.#staged.has(hex) || statat(this.#objects, place(hex), this.#st) === 0
  }

  /** Whether the object is there; one of a wrong size is damaged, and is written again. */
  #has(hex: string, size: number): boolean {
    if (this.#staged.has(hex)) return true
    return statat(this.#objects, place(hex), this.#st) === 0 && this.#st.size === size
  }

  #hashZeros(count: number): void {
    this.#hashed += Math.max(0, count)
    for (; count > 0; count -= zeros.length)
      this.#hash?.update(count >= zeros.length ? zeros : zeros.subarray(0, count))
  }

  #writeData(chunk: Buffer, offset: number): void {
    let from = 0
    let at = 0
    while (at < chunk.length) {
      const n = Math.min(zeros.length, chunk.length - at)
      if (n < HOLE_UNIT || zeros.compare(chunk, at, at + n, 0, n) !== 0) {
        at += n
        continue
      }
      if (at > from) check(pwriteAll(this.#fd, chunk.subarray(from, at), offset + from), 'write', this.#stagingPath)
      at += n
      from = at
    }
    if (at > from) check(pwriteAll(this.#fd, chunk.subarray(from, at), offset + from), 'write', this.#stagingPath)
  }
}

/** Where an object waits: below its first digit, under all of its name. */
function stagedAt(hex: string): string {
  return `${hex.slice(0, 1)}/${hex}`
}

/**
 * Gives the objects that wait in `staging`, which are on disk, their names below `objects`. The names are not synced. Again
 * after an interruption it goes on with what is left. Throws FsError.
 */
export function nameObjects(staging: string, objects: string): void {
  const into = check(open(bytesOf(`${objects}/${RESERVED}`), O.RDONLY | O.DIRECTORY), 'open', objects)
  try {
    for (const digit of readdirSync(staging)) {
      if (digit.length !== 1) continue
      const from = check(open(bytesOf(`${staging}/${digit}`), O.RDONLY | O.DIRECTORY), 'open', staging)
      try {
        for (const hex of readdirSync(`${staging}/${digit}`))
          check(renameat2(from, hex, into, place(hex)), 'rename', hex)
      } finally {
        close(from)
      }
    }
  } finally {
    close(into)
  }
}

function place(hex: string): string {
  return `${hex.slice(0, 2)}/${hex.slice(2)}`
}
