/**
 * Owns what a listing is made of: the entries of a directory as they are found, the hash that orders them, and the byte that
 * says what an entry is.
 * Most directories are listed once in a server's life, so this runs as V8 first compiles it, which is slow for every
 * operation alike: there are few for each entry, names are not touched but for their hash, and sorting is the engine's.
 * Invariant: the hash of a name is the same for as long as a mount lives: offsets that the kernel keeps come from it.
 */

/** The first offset a name can have: `.` and `..` are 1 and 2. */
const FIRST_OFFSET = 3

/** In an entry's type byte, beside the dirent type: it is certain that no lower of the directory has the name. */
const ONLY = 0x80
const TYPE = 0x0f

/** An entry's place: its type byte, above it where it stands (16 bits), above that the length of its name. */
export const AT_SHIFT = 8
export const LENGTH_SHIFT = 24
/** Longer names are left out: nobody can look one up. */
const LONGEST = 255

/** Entries there is room for at first, and those for which room is kept. */
const ROOM = 1024
const MOST_KEPT = 1 << 15

/** Words of an entry, here and in a listing: where its name begins; its place; its hash; its number as the union shows it. */
export const Word = { Start: 0, Place: 1, HashHigh: 2, HashLow: 3, InoHigh: 4, InoLow: 5 } as const
export const WORDS = 6

/**
 * Entries in the order they were found, to make a listing of. Names are bytes and numbers are words: a string for each, an
 * object, and the floating-point numbers that V8 puts into memory, would be most of what listing a directory costs.
 */
export class Found {
  count = 0
  /** Where the names are: in bytes of our own, or in memory that somebody else keeps as it is. */
  bytes: Buffer
  borrowed = false
  own: Buffer = Buffer.allocUnsafeSlow(16 * ROOM)
  /** Of our own. */
  used = 0
  words: Uint32Array = new Uint32Array(WORDS * ROOM)

  constructor() {
    this.bytes = this.own
  }

  /** `name` is a byte string, `at` where the entry stands, `ino` its inode number as the union shows it, or 0. */
  push(name: string, type: number, at: number, ino: number): void {
    const from = this.used
    if (from + name.length > this.own.length) {
      const larger = Buffer.allocUnsafeSlow(4 * (from + name.length))
      larger.set(this.own.subarray(0, from))
      this.bytes = this.own = larger
    }
    this.used = put(name, this.own, from)
    this.enter(from, this.used, type, at, Math.floor(ino / 0x100000000), ino)
  }

  /**
   * `push` of a name that stands in `bytes`, which stay as they are; all names are there then. The number comes as its two
   * halves.
   */
  borrow(bytes: Buffer, from: number, to: number, type: number, at: number, inoHigh: number, inoLow: number): void {
    this.bytes = bytes
    this.borrowed = true
    this.enter(from, to, type, at, inoHigh, inoLow)
  }

  enter(from: number, to: number, type: number, at: number, inoHigh: number, inoLow: number): void {
    if (to - from > LONGEST) return
    const k = WORDS * this.count++
    if (k === this.words.length) this.resize(4 * this.count)
    const { words } = this
    words[k] = from
    words[k + Word.Place] = type | (at << AT_SHIFT) | ((to - from) << LENGTH_SHIFT)
    hashInto(this.bytes, from, to, words, k + Word.HashHigh)
    words[k + Word.InoHigh] = inoHigh
    words[k + Word.InoLow] = inoLow
  }

  type(i: number): number {
    return direntType(this.words[WORDS * i + Word.Place] as number)
  }

  /** A lower has the name of entry `i`, which stands in the upper, as well. */
  coversLower(i: number): void {
    const k = WORDS * i + Word.Place
    this.words[k] = (this.words[k] as number) & ~ONLY
  }

  name(i: number): string {
    const from = this.words[WORDS * i] as number
    return this.bytes.latin1Slice(from, from + ((this.words[WORDS * i + Word.Place] as number) >>> LENGTH_SHIFT))
  }

  /** Ready for another directory. Room for an unusually long one is given back. */
  clear(): void {
    if (this.own.length > 16 * MOST_KEPT) this.own = Buffer.allocUnsafeSlow(16 * ROOM)
    this.bytes = this.own
    this.borrowed = false
    this.used = 0
    this.count = 0
    if (this.words.length > WORDS * MOST_KEPT) this.resize(ROOM)
  }

  /** Makes room for `room` entries. */
  resize(room: number): void {
    const words = new Uint32Array(WORDS * room)
    if (words.length > this.words.length) words.set(this.words)
    this.words = words
  }
}

/** Scratch of `sort`: 64 bits for each entry, of which the upper ones are of its hash, the lower ones its index. */
let keys = new BigUint64Array(ROOM)
let halves = new Uint32Array(keys.buffer)

/**
 * Writes what was found into `to` in ascending order of the hashes, names deciding between equal ones; of those the later ones
 * get the next higher hash.
 */
export function sortInto(to: Uint32Array, found: Found): void {
  const n = found.count
  if (keys.length < n || (keys.length > MOST_KEPT && n < MOST_KEPT)) {
    keys = new BigUint64Array(Math.max(ROOM, n))
    halves = new Uint32Array(keys.buffer)
  }
  makeKeys(found.words, n)
  keys.subarray(0, n).sort()
  settle(found, n)
  copyOrdered(to, found.words, n)
  if (n > 1) spread(to, n)
}

function makeKeys(words: Uint32Array, n: number): void {
  for (let i = 0, k = 0; i < n; i++, k += WORDS) {
    const high = words[k + Word.HashHigh] as number
    halves[2 * i] = i
    halves[2 * i + 1] = (high << (31 - HIGH_BITS)) | ((words[k + Word.HashLow] as number) >>> HIGH_BITS)
  }
}

/** Puts neighbours right that the part of the hash in a key did not tell apart. */
function settle(found: Found, n: number): void {
  for (let i = 1; i < n; i++) if (halves[2 * i + 1] === halves[2 * i - 1]) sink(found, i)
}

/** Moves what is at `i` in the order before those with the same key that it precedes. */
function sink(found: Found, i: number): void {
  const moving = halves[2 * i] as number
  let to = i
  for (; to > 0 && halves[2 * to + 1] === halves[2 * to - 1]; to--) {
    const before = halves[2 * to - 2] as number
    if (!isAfter(found, before, moving)) break
    halves[2 * to] = before
  }
  halves[2 * to] = moving
}

function isAfter(found: Found, a: number, b: number): boolean {
  const d = hashAt(found.words, a) - hashAt(found.words, b)
  return d !== 0 ? d > 0 : found.name(a) > found.name(b)
}

function copyOrdered(to: Uint32Array, from: Uint32Array, n: number): void {
  for (let i = 0, k = 0; i < n; i++, k += WORDS) {
    const j = WORDS * (halves[2 * i] as number)
    to[k] = from[j] as number
    to[k + 1] = from[j + 1] as number
    to[k + 2] = from[j + 2] as number
    to[k + 3] = from[j + 3] as number
    to[k + 4] = from[j + 4] as number
    to[k + 5] = from[j + 5] as number
  }
}

/** Makes hashes differ. */
function spread(words: Uint32Array, n: number): void {
  for (let i = 1, k = WORDS; i < n; i++, k += WORDS) {
    // Far more often than not the upper halves tell already.
    if ((words[k + Word.HashHigh] as number) > (words[k + Word.HashHigh - WORDS] as number)) continue
    const least = hashAt(words, i - 1) + 1
    if (hashAt(words, i) >= least) continue
    words[k + Word.HashHigh] = Math.floor((least - FIRST_OFFSET) / 2 ** LOW_BITS)
    words[k + Word.HashLow] = (least - FIRST_OFFSET) % 2 ** LOW_BITS
  }
}

/** Writes a byte string into `bytes` from `at` on. Returns where it ends. */
function put(name: string, bytes: Uint8Array, at: number): number {
  for (let i = 0; i < name.length; i++) bytes[at + i] = name.charCodeAt(i)
  return at + name.length
}

const hashed = new Uint8Array(4096)
const parts = new Uint32Array(WORDS)

/** The hash of a name (byte string). */
export function hashOf(name: string): number {
  hashInto(hashed, 0, put(name, hashed, 0), parts, Word.HashHigh)
  return hashAt(parts, 0)
}

/** The hash of entry `i` of `words`: at least FIRST_OFFSET, 51 bits. */
export function hashAt(words: Uint32Array, i: number): number {
  const k = WORDS * i
  const high = words[k + Word.HashHigh] as number
  return FIRST_OFFSET + high * 2 ** LOW_BITS + (words[k + Word.HashLow] as number)
}

/** Of a hash. Both halves are small integers to V8. */
const HIGH_BITS = 20
const LOW_BITS = 31

/** Two rounds of multiply and rotate over each four bytes, mixed at the end: writes the two halves to `at` and behind it. */
function hashInto(bytes: Uint8Array, from: number, to: number, words: Uint32Array, at: number): void {
  let a = 0x1e3779b9 ^ (to - from)
  let b = 0x05ebca6b
  for (let i = from; i < to; i += 4) {
    let word = bytes[i] as number
    if (i + 1 < to) word |= (bytes[i + 1] as number) << 8
    if (i + 2 < to) word |= (bytes[i + 2] as number) << 16
    if (i + 3 < to) word |= (bytes[i + 3] as number) << 24
    a = Math.imul(a ^ word, 0x01000193)
    a ^= a >>> 15
    b = Math.imul((b + word) | 0, 0x42b2ae35)
    b = (b << 13) | (b >>> 19)
  }
  a = Math.imul(a ^ (a >>> 16) ^ b, 0x05ebca6b)
  b = Math.imul(b ^ (b >>> 15) ^ a, 0x27d4eb2f)
  words[at] = (a ^ (a >>> 13)) >>> (32 - HIGH_BITS)
  words[at + 1] = (b ^ (b >>> 16)) & 0x7fffffff
}

/** Whether a type byte says that no lower has the name. */
export function isOnly(byte: number): boolean {
  return (byte & ONLY) !== 0
}

/** The type byte of an entry of the upper that no lower has. */
export function onlyUpper(type: number): number {
  return type | ONLY
}

/** The dirent type in a type byte, which stays when it turns out that a lower has the name as well. */
export function direntType(byte: number): number {
  return byte & TYPE
}
