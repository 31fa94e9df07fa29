/**
 * Owns what `tar-stream` lacks, ahead of it in the same pass: a filter that takes extension headers out of a tar and
 * leaves it plain ones. tar-stream reads PAX records as UTF-8 (binary xattrs and names are lost), knows no sparse files,
 * and follows sizes where the format has none.
 * Formats: POSIX pax `x`/`g`, GNU `L`/`K` long names, GNU sparse `S` with extension blocks, PAX sparse 0.0, 0.1, 1.0
 * (GNU tar manual, "Storing Sparse Files"); record text is kept as byte strings.
 * Invariant: what `push` returns is a tar of plain headers and data, and the i-th header in it belongs to the i-th
 * `Extension` taken from `next()`.
 */
import { TarError } from './tar-error.js'

export const TAR_BLOCK = 512
const MAX_EXTENSION = 4 * 1024 * 1024
const MAX_SPARSE_PARTS = 1_000_000

/** What came before a header, and what of a sparse file is data. */
export interface Extension {
  /** PAX records by key, byte strings; GNU long names as `path` and `linkpath`. */
  readonly records: ReadonlyMap<string, string>
  readonly sparse: Sparse | undefined
}

export interface Sparse {
  /** Size of the file with its holes. */
  readonly size: number
  /** offset, length, offset, length …: where the stored bytes belong, ascending. */
  readonly parts: readonly number[]
}

const none: ReadonlyMap<string, string> = new Map()

type State = 'header' | 'extension' | 'sparse-blocks' | 'sparse-map' | 'data' | 'end'

export class TarFraming {
  readonly #block = Buffer.alloc(TAR_BLOCK)
  #filled = 0
  #state: State = 'header'
  /** Bytes of extension data or file data still to come, and of padding behind. */
  #left = 0
  #padding = 0
  #zeroBlocks = 0
  #kind = 0
  #collected: Buffer[] = []
  readonly #global = new Map<string, string>()
  #records: Map<string, string> | undefined
  /** Numbers of a sparse 0.0 map, whose keys repeat. */
  #repeated: number[] = []
  #held: Buffer = Buffer.alloc(0)
  #parts: number[] = []
  #mapWanted = 0
  readonly #queue: Extension[] = []

  /** Takes the next piece of the tar; returns the pieces to hand on (they share its memory). Throws TarError. */
  push(chunk: Buffer): Buffer[] {
    const out: Buffer[] = []
    let at = 0
    while (at < chunk.length) {
      if (this.#state === 'end') break
      if (this.#state === 'data') {
        const n = Math.min(this.#left, chunk.length - at)
        out.push(chunk.subarray(at, at + n))
        at += n
        this.#left -= n
        if (this.#left === 0) this.#state = 'header'
        continue
      }
      if (this.#state === 'extension') {
        at += this.#collect(chunk, at)
        continue
      }
      // States that work on whole blocks.
      let block: Buffer
      if (this.#filled === 0 && chunk.length - at >= TAR_BLOCK) {
        block = chunk.subarray(at, at + TAR_BLOCK)
        at += TAR_BLOCK
      } else {
        const n = Math.min(TAR_BLOCK - this.#filled, chunk.length - at)
        chunk.copy(this.#block, this.#filled, at, at + n)
        this.#filled += n
        at += n
        if (this.#filled < TAR_BLOCK) break
        this.#filled = 0
        block = this.#block
      }
      if (this.#state === 'header') this.#header(block, out)
      else if (this.#state === 'sparse-blocks') this.#sparseBlock(block, out)
      else this.#sparseMap(block, out)
    }
    return out
  }

  /** The tar has ended: throws TarError when that was in the middle of something. */
  end(): void {
    if (this.#state === 'end') return
    // A tar without its two zero blocks is common enough (split archives, `head -c`); one cut inside an entry is not.
    if (this.#state !== 'header' || this.#filled > 0 || this.#records !== undefined)
      throw new TarError('TAR_CORRUPT', 'unexpected end of the archive')
  }

  /** The extension of the next header handed on. */
  next(): Extension {
    return this.#queue.shift() ?? { records: none, sparse: undefined }
  }

  #bytes = 0

  /** For who can seek: the data of the header just handed on will not be pushed. Its size, and with padding. */
  skipData(): { bytes: number; padded: number } {
    const padded = this.#state === 'data' ? this.#left : 0
    this.#left = 0
    if (this.#state === 'data') this.#state = 'header'
    return { bytes: padded === 0 ? 0 : this.#bytes, padded }
  }

  #header(block: Buffer, out: Buffer[]): void {
    if (isZero(block)) {
      if (++this.#zeroBlocks === 2) this.#state = 'end'
      return
    }
    if (this.#zeroBlocks > 0) throw new TarError('TAR_CORRUPT', 'a lone zero block inside the archive')
    if (checksum(block) !== octal(block, 148, 8)) throw new TarError('TAR_CORRUPT', 'header checksum does not match')
    const type = block[156] as number
    const size = number(block, 124, 12)
    switch (type) {
      case 0x78: // x
      case 0x67: // g
      case 0x4c: // L
      case 0x4b: // K
        if (size > MAX_EXTENSION) throw new TarError('TAR_LIMIT', `extension header of ${size} bytes`)
        this.#kind = type
        this.#left = size
        this.#padding = padding(size)
        this.#state = 'extension'
        if (size === 0) this.#extension()
        return
      case 0x53: // S
        this.#held = Buffer.from(block)
        this.#parts = []
        sparseParts(block, 386, 4, this.#parts)
        if (block[482]) this.#state = 'sparse-blocks'
        else this.#emitSparse(out)
        return
      case 0x4d: // M
      case 0x56: // V
      case 0x44: // D
        throw new TarError('TAR_UNSUPPORTED', 'multi-volume and incremental archives are not supported')
      default:
        this.#main(block, type, size, out)
    }
  }

  #main(block: Buffer, type: number, size: number, out: Buffer[]): void {
    const records = this.#records
    const paxSize = records?.get('size')
    if (paxSize !== undefined && paxSize !== '') size = decimal(paxSize, 'size')
    // Links, devices, directories, fifos have no data, whatever their size field says (as Go and libarchive read them).
    const plain = type === 0 || type === 0x30 || type === 0x37
    if (!plain) size = 0
    if (plain && records !== undefined && this.#paxSparse(block, records, size, out)) return
    this.#emit(block, type, size, undefined, out)
  }

  /** PAX sparse files; true when the header was taken care of. */
  #paxSparse(block: Buffer, records: Map<string, string>, size: number, out: Buffer[]): boolean {
    const major = records.get('GNU.sparse.major')
    const name = records.get('GNU.sparse.name')
    if (name !== undefined) records.set('path', name)
    if (major === '1' && records.get('GNU.sparse.minor') === '0') {
      this.#held = Buffer.from(block)
      this.#parts = []
      this.#mapWanted = -1
      this.#left = size
      this.#collected = []
      this.#state = 'sparse-map'
      return true
    }
    if (major !== undefined && major !== '0') throw new TarError('TAR_UNSUPPORTED', `sparse format ${major}`)
    const real = records.get('GNU.sparse.size') ?? records.get('GNU.sparse.realsize')
    if (real === undefined) return false
    const map = records.get('GNU.sparse.map')
    const parts = map !== undefined ? map.split(',').map(n => decimal(n, 'sparse map')) : this.#repeated
    this.#emit(block, 0x30, size, checkSparse(parts, decimal(real, 'sparse size'), size), out)
    return true
  }

  #sparseBlock(block: Buffer, out: Buffer[]): void {
    sparseParts(block, 0, 21, this.#parts)
    if (this.#parts.length > 2 * MAX_SPARSE_PARTS) throw new TarError('TAR_LIMIT', 'sparse map too long')
    if (!block[504]) this.#emitSparse(out)
  }

  #emitSparse(out: Buffer[]): void {
    const size = number(this.#held, 124, 12)
    const real = number(this.#held, 483, 12)
    this.#emit(this.#held, 0x30, size, checkSparse(this.#parts, real, size), out)
  }

  /** Sparse 1.0: the map lies before the data, decimal numbers on lines, padded to a block. */
  #sparseMap(block: Buffer, out: Buffer[]): void {
    if (this.#left < TAR_BLOCK) throw new TarError('TAR_CORRUPT', 'sparse map does not end')
    this.#left -= TAR_BLOCK
    this.#collected.push(Buffer.from(block))
    if (this.#collected.length * TAR_BLOCK > MAX_EXTENSION) throw new TarError('TAR_LIMIT', 'sparse map too long')
    const text = (this.#collected.length === 1 ? block : Buffer.concat(this.#collected)).latin1Slice()
    if (this.#mapWanted < 0) {
      const eol = text.indexOf('\n')
      if (eol < 0) return
      this.#mapWanted = decimal(text.slice(0, eol), 'sparse map')
      if (this.#mapWanted > MAX_SPARSE_PARTS) throw new TarError('TAR_LIMIT', 'sparse map too long')
    }
    // Splitting again for each block is quadratic only in the map's own 4 MiB, and cheap for real ones: count first.
    let lines = 0
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) lines++
    if (lines < 1 + 2 * this.#mapWanted) return
    const numbers = text.split('\n', 1 + 2 * this.#mapWanted)
    const parts = numbers.slice(1).map(n => decimal(n, 'sparse map'))
    const real = decimal(this.#records?.get('GNU.sparse.realsize') ?? '', 'sparse size')
    this.#collected = []
    this.#emit(this.#held, 0x30, this.#left, checkSparse(parts, real, this.#left), out)
  }

  /** Hands the header on as a plain one with its true size, and expects its data. */
  #emit(block: Buffer, type: number, size: number, sparse: Sparse | undefined, out: Buffer[]): void {
    const header = Buffer.from(block)
    header[156] = type
    putSize(header, size)
    header.latin1Write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, 148)
    let records: ReadonlyMap<string, string> = this.#records ?? none
    if (this.#global.size > 0) records = new Map([...this.#global, ...records])
    this.#queue.push({ records, sparse })
    this.#records = undefined
    this.#repeated = []
    out.push(header)
    this.#bytes = size
    this.#left = size + padding(size)
    this.#state = this.#left > 0 ? 'data' : 'header'
  }

  /** Takes extension data and its padding from `chunk`; returns the bytes taken. */
  #collect(chunk: Buffer, at: number): number {
    const n = Math.min(this.#left, chunk.length - at)
    if (n > 0) {
      this.#collected.push(Buffer.from(chunk.subarray(at, at + n)))
      this.#left -= n
    }
    const pad = this.#left === 0 ? Math.min(this.#padding, chunk.length - at - n) : 0
    this.#padding -= pad
    if (this.#left === 0 && this.#padding === 0) this.#extension()
    return n + pad
  }

  #extension(): void {
    const data = this.#collected.length === 1 ? (this.#collected[0] as Buffer) : Buffer.concat(this.#collected)
    this.#collected = []
    this.#state = 'header'
    const records = (this.#records ??= new Map<string, string>())
    if (this.#kind === 0x4c || this.#kind === 0x4b) {
      const end = data.indexOf(0)
      const text = data.latin1Slice(0, end < 0 ? data.length : end)
      records.set(this.#kind === 0x4c ? 'path' : 'linkpath', text)
    } else if (this.#kind === 0x78) this.#paxRecords(data, (key, value) => records.set(key, value))
    else {
      this.#paxRecords(data, (key, value) => {
        // Names and sizes of every file at once make no sense, and hide entries from other readers.
        if (key !== 'path' && key !== 'linkpath' && key !== 'size') this.#global.set(key, value)
      })
      if (records.size === 0) this.#records = undefined
    }
  }

  /** `LENGTH KEY=VALUE\n`, LENGTH counting the whole record in decimal. */
  #paxRecords(data: Buffer, set: (key: string, value: string) => void): void {
    for (let at = 0; at < data.length;) {
      const space = data.indexOf(0x20, at)
      // Some writers pad the last block with NULs inside the declared size.
      if (space < 0 && isZero(data.subarray(at))) return
      const length = space < 0 || space - at > 10 ? NaN : Number(data.latin1Slice(at, space))
      const end = at + length
      const equals = data.indexOf(0x3d, space)
      if (!(length > 4 && end <= data.length) || data[end - 1] !== 0x0a || equals < 0 || equals >= end)
        throw new TarError('TAR_CORRUPT', 'malformed PAX record')
      const key = data.latin1Slice(space + 1, equals)
      const value = data.latin1Slice(equals + 1, end - 1)
      if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') this.#repeated.push(decimal(value, key))
      else set(key, value)
      at = end
    }
  }
}

function padding(size: number): number {
  return (TAR_BLOCK - (size % TAR_BLOCK)) % TAR_BLOCK
}

const zeros = Buffer.alloc(TAR_BLOCK)

function isZero(bytes: Buffer): boolean {
  return bytes.length <= TAR_BLOCK
    ? zeros.compare(bytes, 0, bytes.length, 0, bytes.length) === 0
    : bytes.every(b => b === 0)
}

/** Whether a tar can begin with these bytes: a whole header whose checksum matches (POSIX or older). */
export function isTarHeader(block: Buffer): boolean {
  return block.length >= TAR_BLOCK && block[0] !== 0 && checksum(block) === octal(block, 148, 8)
}

function checksum(block: Buffer): number {
  let sum = 8 * 32
  for (let i = 0; i < 148; i++) sum += block[i] as number
  for (let i = 156; i < TAR_BLOCK; i++) sum += block[i] as number
  return sum
}

function octal(block: Buffer, at: number, length: number): number {
  const digits = /^[ ]*([0-7]*)[ \0]*/.exec(block.latin1Slice(at, at + length))?.[1]
  return digits ? parseInt(digits, 8) : 0
}

/** An octal or base-256 number that must be >= 0 and exact. */
function number(block: Buffer, at: number, length: number): number {
  const first = block[at] as number
  let value = 0
  if (first & 0x80) {
    value = first & 0x40 ? -1 : first & 0x3f
    for (let i = 1; i < length && value >= 0; i++) value = value * 256 + (block[at + i] as number)
  } else value = octal(block, at, length)
  if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER))
    throw new TarError('TAR_CORRUPT', 'size is negative or too large')
  return value
}

function decimal(text: string, what: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN
  if (!(value <= Number.MAX_SAFE_INTEGER)) throw new TarError('TAR_CORRUPT', `${what} is no number`)
  return value
}

function putSize(header: Buffer, size: number): void {
  if (size < 0o100000000000) {
    header.latin1Write(`${size.toString(8).padStart(11, '0')}\0`, 124)
    return
  }
  for (let i = 11; i > 0; i--) {
    header[124 + i] = size % 256
    size = Math.floor(size / 256)
  }
  header[124] = 0x80
}

/** GNU's pairs of 12-byte numbers; an empty one ends the list. */
function sparseParts(block: Buffer, at: number, count: number, parts: number[]): void {
  for (let i = 0; i < count; i++, at += 24) {
    if (block[at] === 0 || block[at + 12] === 0) return
    parts.push(number(block, at, 12), number(block, at + 12, 12))
  }
}

function checkSparse(parts: number[], size: number, stored: number): Sparse {
  let end = 0
  let sum = 0
  for (let i = 0; i < parts.length; i += 2) {
    const offset = parts[i] as number
    const length = parts[i + 1]
    if (length === undefined || offset < end || offset + length > size)
      throw new TarError('TAR_CORRUPT', 'sparse map is not ascending inside the file')
    end = offset + length
    sum += length
  }
  if (sum !== stored) throw new TarError('TAR_CORRUPT', `sparse map describes ${sum} bytes, ${stored} are stored`)
  return { size, parts }
}
