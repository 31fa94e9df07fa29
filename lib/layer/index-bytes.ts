/**
 * Owns the bytes of an index: how it says that it is whole (`seal`, `verifyIndex`), and how it is read a piece at a time.
 * Format: before the superblock our own header, behind the last block of the EROFS image a table with the SHA-256 of each
 * 64 KiB of it (of the first piece: from the superblock on); the header has the SHA-256 of the table.
 * Invariant: no byte is answered from before its piece was compared with its hash.
 */
import { createHash } from 'node:crypto'
import { textOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, open, pread } from '../sys/file.js'
import { wantHugePages } from '../sys/memory.js'
import { fstat, Stat } from '../sys/stat.js'
import {
  BLOCK,
  BLOCKS_AT,
  HEADER_HASH_AT,
  HEADER_MAGIC,
  HEADER_VERSION,
  HEADER_VERSION_AT,
  SUPERBLOCK_AT,
} from './erofs-format.js'

/** Small enough that a command which asks for ten names reads little, large enough that a walk reads seldom. */
export const PIECE_BITS = 16
const PIECE = 1 << PIECE_BITS
const HASH = 32

/** The bytes are no index that this version understands. `reason` is one line. */
export class IndexFormatError extends Error {
  override readonly name = 'IndexFormatError'
  readonly code = 'INDEX_FORMAT'
}

/** What a reader of an index needs to know of its bytes. */
export interface IndexBytes {
  /** As long as the EROFS image. A piece that is not there yet has undefined content. */
  readonly bytes: Buffer
  /** By piece (offset >>> PIECE_BITS): 1 when it may be read. */
  readonly there: Uint8Array
  /** Makes a piece be there: 0, EIO, or EUCLEAN when it is not what was written. */
  fetch(piece: number): number
  close(): void
}

/** Bytes that are in memory as a whole. They are not checked. */
export function wholeIndex(bytes: Buffer): IndexBytes {
  const there = new Uint8Array(Math.ceil(bytes.length / PIECE)).fill(1)
  return { bytes, there, fetch: () => 0, close: () => undefined }
}

/** Bytes that `seal` puts behind an EROFS image of that many blocks. */
export function sealSize(blocks: number): number {
  return Math.ceil((pieces(blocks) * HASH) / BLOCK) * BLOCK
}

/** Writes header and table: `file` is a finished EROFS image and the room of `sealSize` behind it. */
export function seal(file: Buffer): void {
  const blocks = file.readUInt32LE(BLOCKS_AT)
  const table = file.subarray(blocks * BLOCK)
  for (let n = 0; n < pieces(blocks); n++) hashOf(file, n, blocks).copy(table, n * HASH)
  file.latin1Write(HEADER_MAGIC, 0)
  file.writeUInt32LE(HEADER_VERSION, HEADER_VERSION_AT)
  createHash('sha256').update(table).digest().copy(file, HEADER_HASH_AT)
}

/** What is wrong with the whole of an index file, or undefined when all is well. */
export function verifyIndex(file: Buffer): string | undefined {
  const problem = headerProblem(file, file.length)
  if (problem !== undefined) return problem
  const blocks = file.readUInt32LE(BLOCKS_AT)
  const table = file.subarray(blocks * BLOCK)
  if (!isTable(file, table)) return 'its table of hashes is damaged'
  for (let n = 0; n < pieces(blocks); n++) if (!hashOf(file, n, blocks).equals(entry(table, n))) return damage(n)
  return undefined
}

/** An index that lies in a file. Holds the file open: it may lose its name meanwhile. */
export class IndexFile implements IndexBytes {
  readonly bytes: Buffer
  readonly there: Uint8Array
  readonly #path: string
  readonly #table: Buffer
  #fd: number
  #told = false

  /** `path` is a byte string. Reads header and table. Throws IndexFormatError, FsError. */
  constructor(path: string) {
    this.#path = path
    this.#fd = open(path, O.RDONLY)
    if (this.#fd < 0) throw new FsError(this.#fd, 'open', path)
    try {
      const st = new Stat()
      const r = fstat(this.#fd, st)
      if (r < 0) throw new FsError(r, 'stat', path)
      const first = Buffer.alloc(BLOCK)
      if (!this.#read(first, 0)) throw new IndexFormatError('no index header')
      const problem = headerProblem(first, st.size)
      if (problem !== undefined) throw new IndexFormatError(problem)
      const blocks = first.readUInt32LE(BLOCKS_AT)
      this.#table = Buffer.alloc(sealSize(blocks))
      if (!this.#read(this.#table, blocks * BLOCK) || !isTable(first, this.#table))
        throw new IndexFormatError('its table of hashes is damaged')
      // Of memory that is not touched the kernel gives none.
      this.bytes = Buffer.allocUnsafeSlow(blocks * BLOCK)
      wantHugePages(this.bytes)
      this.there = new Uint8Array(pieces(blocks))
    } catch (error) {
      this.close()
      throw error
    }
  }

  fetch(piece: number): number {
    const from = piece * PIECE
    if (!this.#read(this.bytes.subarray(from, from + PIECE), from)) return this.#tell('cannot be read', -E.EIO)
    if (!hashOf(this.bytes, piece, this.bytes.length / BLOCK).equals(entry(this.#table, piece)))
      return this.#tell(damage(piece), -E.EUCLEAN)
    this.there[piece] = 1
    return 0
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd)
    this.#fd = -1
  }

  /** Whether all of `into` could be filled from `at` on. */
  #read(into: Buffer, at: number): boolean {
    for (let done = 0; done < into.length;) {
      const n = pread(this.#fd, into.subarray(done), at + done)
      if (n <= 0) return false
      done += n
    }
    return true
  }

  /** An errno says too little of where to look; once is enough. */
  #tell(cause: string, errno: number): number {
    if (!this.#told) process.stderr.write(`lamina: read index ${textOf(this.#path)}: ${cause} (lamina fsck --repair)\n`)
    this.#told = true
    return errno
  }
}

function pieces(blocks: number): number {
  return Math.ceil((blocks * BLOCK) / PIECE)
}

function hashOf(file: Buffer, piece: number, blocks: number): Buffer {
  const from = Math.max(SUPERBLOCK_AT, piece * PIECE)
  const to = Math.min((piece + 1) * PIECE, blocks * BLOCK)
  return createHash('sha256').update(file.subarray(from, to)).digest()
}

function entry(table: Buffer, piece: number): Buffer {
  return table.subarray(piece * HASH, (piece + 1) * HASH)
}

function isTable(header: Buffer, table: Buffer): boolean {
  const hash = createHash('sha256').update(table).digest()
  return hash.equals(header.subarray(HEADER_HASH_AT, HEADER_HASH_AT + HASH))
}

/** `size` is the file's; the blocks that the header tells of must be what it has. */
function headerProblem(header: Buffer, size: number): string | undefined {
  if (header.length < BLOCK || header.latin1Slice(0, HEADER_MAGIC.length) !== HEADER_MAGIC) return 'no index header'
  const version = header.readUInt32LE(HEADER_VERSION_AT)
  if (version !== HEADER_VERSION) return `index version ${version}, this program reads ${HEADER_VERSION}`
  const blocks = header.readUInt32LE(BLOCKS_AT)
  return blocks > 0 && blocks * BLOCK + sealSize(blocks) === size ? undefined : 'truncated'
}

function damage(piece: number): string {
  return `bytes from ${piece * PIECE} on do not match their hash`
}
