/**
 * Owns index -> answers: reads an EROFS image, of which it asks for each piece before it looks at it, in the subset that
 * erofs-write.ts writes (uncompressed, 4 KiB blocks, one device).
 * Formats: inodes are named by nid (offset / 32); names are byte strings; results `>= 0` or `-errno`.
 * Invariant: every offset is checked against the image before it is followed, so a damaged index gives EUCLEAN (117) and
 * never an exception, a wrong read or an endless loop. Nothing is allocated by find and decode.
 */
import { E } from '../errno.js'
import { DT, S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'
import {
  BLOCK,
  BLOCK_BITS,
  BLOCKS_AT,
  COMPAT_CHECKSUM,
  crc32c,
  DIRENT,
  DT_OF_FT,
  INCOMPAT_CHUNKED,
  Layout,
  MAGIC,
  SLOT,
  SUPERBLOCK_AT,
} from './erofs-format.js'
import { type IndexBytes, IndexFormatError, PIECE_BITS, wholeIndex } from './index-bytes.js'
import type { EntrySink } from './layer.js'

const CORRUPT = -E.EUCLEAN

/**
 * The same number, for V8 a small integer where it can be one: one that came of larger ones is a floating-point number to
 * it, and code that it has compiled for integers is thrown away where one turns up.
 */
function whole(n: number): number {
  return n <= 0x7fffffff ? n | 0 : n
}

export class ErofsImage {
  readonly bytes: Buffer
  readonly root: number
  readonly inodes: number
  readonly #source: IndexBytes
  readonly #there: Uint8Array
  readonly #view: DataView
  readonly #length: number
  readonly #sharedAt: number
  readonly #epoch: number
  readonly #epochNs: number

  // The inode that `load` decoded last.
  mode = 0
  size = 0
  uid = 0
  gid = 0
  nlink = 0
  mtime = 0
  mtimeNs = 0
  /** Device number, block address or chunk format. */
  #u = 0
  #layout = 0
  #xattrAt = 0
  #xattrEnd = 0

  /** Checks the superblock. Throws IndexFormatError. A buffer is kept, not copied, and nothing else of it is checked here. */
  constructor(image: Buffer | IndexBytes) {
    this.#source = Buffer.isBuffer(image) ? wholeIndex(image) : image
    const { bytes, there } = this.#source
    this.bytes = bytes
    this.#there = there
    this.#length = bytes.length
    if (this.#need(0, BLOCK) < 0) throw new IndexFormatError('its first piece is damaged')
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (bytes.length < BLOCK || this.#view.getUint32(SUPERBLOCK_AT, true) !== MAGIC)
      throw new IndexFormatError('not an EROFS image')
    const sb = bytes.subarray(SUPERBLOCK_AT, SUPERBLOCK_AT + 128)
    if (sb.readUInt32LE(8) & COMPAT_CHECKSUM) {
      const block = Buffer.from(bytes.subarray(SUPERBLOCK_AT, BLOCK))
      const stored = block.readUInt32LE(4)
      block.writeUInt32LE(0, 4)
      if (crc32c(block) !== stored) throw new IndexFormatError('superblock checksum does not match')
    }
    const incompat = sb.readUInt32LE(80) & ~INCOMPAT_CHUNKED
    if (sb[12] !== BLOCK_BITS || sb[90] !== 0 || incompat !== 0 || sb.readUInt16LE(86) !== 0)
      throw new IndexFormatError('EROFS features that an index does not use')
    if (sb.readUInt32LE(40) !== 0) throw new IndexFormatError('inodes do not start at block 0')
    if (bytes.readUInt32LE(BLOCKS_AT) * BLOCK > bytes.length) throw new IndexFormatError('truncated')
    this.inodes = Number(sb.readBigUInt64LE(16))
    this.#sharedAt = sb.readUInt32LE(44) * BLOCK
    this.#epoch = Number(sb.readBigInt64LE(24))
    this.#epochNs = sb.readUInt32LE(32)
    this.root = sb.readUInt16LE(14)
    if (this.load(this.root) < 0 || (this.mode & S.IFMT) !== S.IFDIR) throw new IndexFormatError('root is no directory')
  }

  /** Gives back what the bytes come from. */
  close(): void {
    this.#source.close()
  }

  /** Makes the bytes from `from` to `to`, both inside the image, be there: 0, EIO or EUCLEAN. */
  #need(from: number, to: number): number {
    const last = (to - 1) >>> PIECE_BITS
    for (let piece = from >>> PIECE_BITS; piece <= last; piece++)
      if (this.#there[piece] === 0) {
        const r = this.#source.fetch(piece)
        if (r < 0) return r
      }
    return 0
  }

  /** Decodes an inode into the fields of this object: 0, EIO or EUCLEAN. */
  load(nid: number): number {
    const at = whole(nid * SLOT)
    const view = this.#view
    if (!(at >= SUPERBLOCK_AT && at + 32 <= this.#length)) return CORRUPT
    let r = this.#need(at, at + 32)
    if (r < 0) return r
    const format = view.getUint16(at, true)
    const icount = view.getUint16(at + 2, true)
    const mode = view.getUint16(at + 4, true)
    this.mode = mode
    this.#layout = (format >>> 1) & 7
    this.#u = view.getUint32(at + 16, true)
    let header = 32
    if (format & 1) {
      header = 64
      if (at + 64 > this.#length) return CORRUPT
      r = this.#need(at + 32, at + 64)
      if (r < 0) return r
      const high = view.getUint32(at + 12, true)
      if (high >= 0x200000) return CORRUPT
      this.size = high * 0x100000000 + view.getUint32(at + 8, true)
      this.uid = view.getUint32(at + 24, true)
      this.gid = view.getUint32(at + 28, true)
      this.mtime = view.getInt32(at + 36, true) * 0x100000000 + view.getUint32(at + 32, true)
      this.mtimeNs = view.getUint32(at + 40, true)
      this.nlink = view.getUint32(at + 44, true)
    } else {
      this.nlink = view.getUint16(at + 6, true)
      this.size = view.getUint32(at + 8, true)
      this.uid = view.getUint16(at + 24, true)
      this.gid = view.getUint16(at + 26, true)
      this.mtime = this.#epoch
      this.mtimeNs = this.#epochNs
    }
    this.#xattrAt = at + header
    this.#xattrEnd = icount === 0 ? this.#xattrAt : this.#xattrAt + 12 + 4 * (icount - 1)
    if (this.#xattrEnd > this.#length) return CORRUPT
    return icount === 0 ? 0 : this.#need(this.#xattrAt, this.#xattrEnd)
  }

  get rdev(): number {
    const type = this.mode & S.IFMT
    return type === S.IFCHR || type === S.IFBLK ? this.#u : 0
  }

  /** Fills `st` from the inode `nid`: 0, or EUCLEAN. `st.dev` is left alone. */
  stat(nid: number, st: Stat): number {
    const r = this.load(nid)
    if (r < 0) return r
    st.mode = this.mode
    st.nlink = this.nlink
    st.uid = this.uid
    st.gid = this.gid
    st.ino = nid
    st.size = this.size
    st.blocks = Math.ceil(this.size / BLOCK) * 8
    st.blksize = BLOCK
    st.rdev = this.rdev
    st.atime = st.mtime = st.ctime = st.btime = this.mtime
    st.atimeNs = st.mtimeNs = st.ctimeNs = st.btimeNs = this.mtimeNs
    st.attributes = 0
    return 0
  }

  /** Where block `i` of the loaded directory starts, or EUCLEAN; `#blockSize` says how long it is. */
  #block(i: number): number {
    const full = Math.floor(this.size / BLOCK)
    let at: number
    let length = BLOCK
    if (this.#layout === Layout.FlatInline && i === full) {
      at = this.#xattrEnd
      length = this.size % BLOCK
    } else if (this.#layout === Layout.FlatPlain || (this.#layout === Layout.FlatInline && i < full)) {
      at = (this.#u + i) * BLOCK
      length = Math.min(BLOCK, this.size - i * BLOCK)
    } else return CORRUPT
    if (length < DIRENT || at < SUPERBLOCK_AT || at + length > this.#length) return CORRUPT
    this.#blockSize = length
    const r = this.#need(at, at + length)
    return r < 0 ? r : whole(at)
  }
  #blockSize = 0

  /** Number of entries in the block at `at`, or EUCLEAN. */
  #entries(at: number): number {
    const first = this.#view.getUint16(at + 8, true)
    if (first < DIRENT || first % DIRENT !== 0 || first > this.#blockSize) return CORRUPT
    return first / DIRENT
  }

  /** End of the name of entry `i` of `count`, which starts at `start`; both absolute. EUCLEAN when outside the block. */
  #nameEnd(at: number, i: number, count: number, start: number): number {
    const limit = at + this.#blockSize
    let end: number
    if (i + 1 < count) end = at + this.#view.getUint16(at + (i + 1) * DIRENT + 8, true)
    else {
      end = start
      while (end < limit && this.bytes[end] !== 0) end++
    }
    return start >= at + count * DIRENT && end > start && end <= limit && end - start <= 255 ? end : CORRUPT
  }

  /** `name` against the name of entry `i`: < 0, 0, > 0; NaN when the entry is damaged. */
  #compare(name: string, at: number, i: number, count: number): number {
    const start = at + this.#view.getUint16(at + i * DIRENT + 8, true)
    const end = this.#nameEnd(at, i, count, start)
    if (end < 0) return NaN
    const n = Math.min(name.length, end - start)
    for (let k = 0; k < n; k++) {
      const d = name.charCodeAt(k) - (this.bytes[start + k] as number)
      if (d !== 0) return d
    }
    return name.length - (end - start)
  }

  #nidAt(entry: number): number {
    return whole(this.#view.getUint32(entry + 4, true) * 0x100000000 + this.#view.getUint32(entry, true))
  }

  // Who lists a directory asks for its names in that order: the entry behind the one that was found last.
  #foundDir = -1
  #foundAt = 0
  #foundSize = 0
  #foundNext = 0
  #foundCount = 0

  /** The nid of `name` in directory `dir`; ENOENT, ENOTDIR, EUCLEAN. */
  find(dir: number, name: string): number {
    const r = this.load(dir)
    if (r < 0) return r
    if ((this.mode & S.IFMT) !== S.IFDIR) return -E.ENOTDIR
    if (dir === this.#foundDir && this.#foundNext < this.#foundCount) {
      this.#blockSize = this.#foundSize
      const c = this.#compare(name, this.#foundAt, this.#foundNext, this.#foundCount)
      if (c === 0) return this.#nidAt(this.#foundAt + this.#foundNext++ * DIRENT)
    }
    // The last block whose first name is not behind `name`.
    let low = 0
    let high = Math.ceil(this.size / BLOCK) - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      const at = this.#block(middle)
      if (at < 0) return at
      const count = this.#entries(at)
      if (count < 0) return count
      const c = this.#compare(name, at, 0, count)
      if (Number.isNaN(c)) return CORRUPT
      if (c < 0) high = middle - 1
      else low = middle
    }
    const at = this.#block(low)
    if (at < 0) return at
    const count = this.#entries(at)
    if (count < 0) return count
    let first = 0
    let last = count - 1
    while (first <= last) {
      const middle = (first + last) >>> 1
      const c = this.#compare(name, at, middle, count)
      if (c === 0) {
        this.#foundDir = dir
        this.#foundAt = at
        this.#foundSize = this.#blockSize
        this.#foundNext = middle + 1
        this.#foundCount = count
        return this.#nidAt(at + middle * DIRENT)
      }
      if (c < 0) last = middle - 1
      else if (c > 0) first = middle + 1
      else return CORRUPT
    }
    return -E.ENOENT
  }

  /** Calls `each` for every entry but `.` and `..`, in name order. 0 or `-errno`. `each` may use this object. */
  list(dir: number, each: (name: string, type: number, nid: number) => void, whiteout: number = DT.CHR): number {
    const take: EntrySink['take'] = (bytes, from, to, type, nid) => each(bytes.latin1Slice(from, to), type, nid)
    return this.listBytes(dir, { take }, whiteout)
  }

  /** `list`, its entries given to `sink`, whiteouts as of type `whiteout`. */
  listBytes(dir: number, sink: EntrySink, whiteout: number = DT.CHR): number {
    let r = this.load(dir)
    if (r < 0) return r
    if ((this.mode & S.IFMT) !== S.IFDIR) return -E.ENOTDIR
    const blocks = Math.ceil(this.size / BLOCK)
    for (let b = 0; b < blocks; b++) {
      const at = this.#block(b)
      if (at < 0) return at
      const size = this.#blockSize
      const count = this.#entries(at)
      if (count < 0) return count
      const { bytes } = this
      for (let i = 0, start = at + count * DIRENT, end = 0; i < count; i++, start = end) {
        this.#blockSize = size
        end = this.#nameEnd(at, i, count, start)
        if (end < 0) return end
        if (bytes[start] === 46 && (end - start === 1 || (end - start === 2 && bytes[start + 1] === 46))) continue
        let type: number = DT_OF_FT[bytes[at + i * DIRENT + 10] as number] ?? 0
        const nid = this.#nidAt(at + i * DIRENT)
        if (type === DT.CHR && this.load(nid) === 0 && this.rdev === 0) type = whiteout
        sink.take(bytes, start, end, type, nid)
      }
      // `sink` may have loaded another inode.
      r = this.load(dir)
      if (r < 0) return r
    }
    return 0
  }

  /** A symlink's target; EINVAL when `nid` is none. */
  readlink(nid: number): string | number {
    const r = this.load(nid)
    if (r < 0) return r
    if ((this.mode & S.IFMT) !== S.IFLNK) return -E.EINVAL
    const at = this.#layout === Layout.FlatInline ? this.#xattrEnd : this.#u * BLOCK
    if (this.size > BLOCK || at < SUPERBLOCK_AT || at + this.size > this.#length) return CORRUPT
    const n = this.#need(at, at + this.size)
    return n < 0 ? n : this.bytes.latin1Slice(at, at + this.size)
  }

  /** Whether the loaded inode has any xattr. */
  get hasXattrs(): boolean {
    return this.#xattrEnd > this.#xattrAt
  }

  #valueAt = 0
  #valueLength = 0

  /**
   * Finds the xattr (`index`, `suffix`) of inode `nid`: the length of its value, ENODATA or EUCLEAN. The value is then
   * had from `value()` until the next call.
   */
  findXattr(nid: number, index: number, suffix: string): number {
    const r = this.load(nid)
    if (r < 0) return r
    return this.#xattrs((i, from, to) => {
      if (i !== index || to - from !== suffix.length) return false
      for (let k = 0; k < suffix.length; k++) if (this.bytes[from + k] !== suffix.charCodeAt(k)) return false
      return true
    })
  }

  /** The value that findXattr found: a window into the image, not to be written to. */
  value(): Buffer {
    return this.bytes.subarray(this.#valueAt, this.#valueAt + this.#valueLength)
  }

  /** The same as a byte string. */
  valueText(): string {
    return this.bytes.latin1Slice(this.#valueAt, this.#valueAt + this.#valueLength)
  }

  /** Calls `each(index, suffix)` for every xattr of `nid`; `value()` is the value meanwhile. 0 or EUCLEAN. */
  listXattrs(nid: number, each: (index: number, suffix: string) => void): number {
    const r = this.load(nid)
    if (r < 0) return r
    const end = this.#xattrs((index, from, to) => {
      each(index, this.bytes.latin1Slice(from, to))
      return false
    })
    return end === -E.ENODATA ? 0 : end
  }

  /** Walks the loaded inode's xattrs until `match` is true: the value's length; ENODATA, EUCLEAN. */
  #xattrs(match: (index: number, from: number, to: number) => boolean): number {
    const at = this.#xattrAt
    const end = this.#xattrEnd
    if (end === at) return -E.ENODATA
    const shared = this.bytes[at + 4] as number
    let p = at + 12
    if (p + 4 * shared > end) return CORRUPT
    for (let i = 0; i < shared; i++, p += 4) {
      const r = this.#xattr(this.#sharedAt + this.#view.getUint32(p, true) * 4, this.#length, match)
      if (r !== 0) return r < 0 ? r : this.#valueLength
    }
    while (p + 4 <= end) {
      const r = this.#xattr(p, end, match)
      if (r !== 0) return r < 0 ? r : this.#valueLength
      p = (this.#valueAt + this.#valueLength + 3) & ~3
    }
    return -E.ENODATA
  }

  /** Looks at the entry at `at`: 1 match, 0 none, EUCLEAN. */
  #xattr(at: number, end: number, match: (index: number, from: number, to: number) => boolean): number {
    if (at < SUPERBLOCK_AT || at + 4 > end) return CORRUPT
    let r = this.#need(at, at + 4)
    if (r < 0) return r
    const from = at + 4
    const to = from + (this.bytes[at] as number)
    const length = this.#view.getUint16(at + 2, true)
    if (to + length > end) return CORRUPT
    r = this.#need(from, to + length)
    if (r < 0) return r
    this.#valueAt = to
    this.#valueLength = length
    return match(this.bytes[at + 1] as number, from, to) ? 1 : 0
  }
}
