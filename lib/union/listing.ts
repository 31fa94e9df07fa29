/**
 * Owns one directory's listing: the names that the merge shows, in what order, in which part of the merge each stands, and
 * which of them the kernel knows without a node of their own (listed.ts).
 * Order and offset of an entry come from a 51-bit hash of its name, so an offset belongs to the name for ever, without any
 * open handle: entries may come and go between two calls, a listing can be dropped and made again, and the kernel may keep
 * what it has read. (The kernel's ext4 does the same.) Two names with one hash stand next to each other, in name order,
 * with consecutive offsets.
 * Invariant: a listing, while kept, holds exactly the entries of the merged directory, and where each is found.
 */
import { S } from '../sys/constants.js'
import {
  AT_SHIFT,
  direntType,
  type Found,
  hashAt,
  hashOf,
  isOnly,
  LENGTH_SHIFT,
  onlyUpper,
  sortInto,
  Word,
  WORDS,
} from './found.js'
import type { Foreseen } from './foreseen.js'
import type { Node } from './node.js'

/** Where an entry stands: an index into `Directory.lowers`, or one of these. */
export const UPPER = 0xffff
export const NOWHERE = -1

/** In an entry's type byte: it has been removed. */
const GONE = 0x40

/** An entry made since the listing was sorted. */
interface Added {
  readonly type: number
  readonly ino: number
}

/** Words of an entry in `Listing.listed`. */
const Child = { Id: 0, Generation: 1, Lookups: 2 } as const
const CHILD_WORDS = 3

/** Entries are named by their index, in the order of their offsets. */
export class Listing {
  /** Entries of the sorted part, those included that are gone. */
  readonly length: number
  /** Where their names are. */
  readonly bytes: Buffer
  /** The words of each (found.ts); its hash is its offset. */
  readonly words: Uint32Array
  /** Live entries of the sorted part and the added ones. */
  count: number
  /** Entries made since, all in the upper, not yet sorted in. */
  added: Map<string, Added> | null = null
  /** For entries that the kernel knows and no node stands for: id, generation, lookups; else id 0. */
  listed: Uint32Array | null = null
  /** How many there are of these. */
  known = 0
  /** Attributes of entries that are about to be listed. */
  foreseen: Foreseen | null = null

  constructor(found: Found) {
    const n = found.count
    this.length = n
    this.count = n
    this.words = new Uint32Array(WORDS * n)
    this.bytes = found.borrowed ? found.bytes : Buffer.from(found.bytes.subarray(0, found.used))
    sortInto(this.words, found)
  }

  /** Where in `bytes` the name of entry `i` begins, and where it ends. */
  start(i: number): number {
    return this.words[WORDS * i] as number
  }

  end(i: number): number {
    return this.start(i) + (this.#place(i) >>> LENGTH_SHIFT)
  }

  name(i: number): string {
    return this.bytes.latin1Slice(this.start(i), this.end(i))
  }

  offset(i: number): number {
    return hashAt(this.words, i)
  }

  /** The inode number as the union shows it; 0 where only a lookup tells. */
  ino(i: number): number {
    const k = WORDS * i
    return (this.words[k + Word.InoHigh] as number) * 0x100000000 + (this.words[k + Word.InoLow] as number)
  }

  isGone(i: number): boolean {
    return (this.#place(i) & GONE) !== 0
  }

  /** The dirent type of entry `i`. */
  type(i: number): number {
    return direntType(this.#place(i))
  }

  /** Where entry `i` stands. */
  at(i: number): number {
    return (this.#place(i) >>> AT_SHIFT) & 0xffff
  }

  #byte(i: number): number {
    return this.#place(i) & 0xff
  }

  #place(i: number): number {
    return this.words[WORDS * i + Word.Place] as number
  }

  #setPlace(i: number, place: number): void {
    this.words[WORDS * i + Word.Place] = place
  }

  /** Index of the first entry after `offset`. */
  after(offset: number): number {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.offset(middle) > offset) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Where `name` stands; NOWHERE: the directory shows no such name. */
  place(name: string): number {
    if (this.added !== null && this.added.has(name)) return UPPER
    const i = this.index(name)
    return i < 0 ? NOWHERE : this.at(i)
  }

  /** Whether it is certain that the lowers have nothing under `name`, which stands in the upper. */
  isOnlyUpper(name: string): boolean {
    const entry = this.added?.get(name)
    if (entry !== undefined) return isOnly(entry.type)
    const i = this.index(name)
    return i >= 0 && this.at(i) === UPPER && isOnly(this.#byte(i))
  }

  /** `only`: nothing in the lowers has this name. */
  add(name: string, type: number, ino: number, only: boolean): void {
    this.added ??= new Map()
    if (!this.added.has(name)) this.count++
    this.added.set(name, { type: only ? onlyUpper(type) : type, ino })
  }

  remove(name: string): void {
    if (this.added?.delete(name) === true) {
      this.count--
      return
    }
    const i = this.index(name)
    if (i < 0) return
    this.#setPlace(i, this.#place(i) | GONE)
    this.count--
  }

  /** An entry of a lower has been copied up under its name. */
  moveUp(name: string): void {
    const i = this.index(name)
    if (i < 0) return
    const length = this.#place(i) >>> LENGTH_SHIFT
    this.#setPlace(i, this.type(i) | (UPPER << AT_SHIFT) | (length << LENGTH_SHIFT))
  }

  /** This listing with the added entries in their places, put together in `all`. Listed children stay with this one. */
  settled(all: Found): Listing {
    if (this.added === null || this.added.size === 0) return this
    all.clear()
    for (let i = 0; i < this.length; i++) {
      if (this.isGone(i)) continue
      all.push(this.name(i), this.#byte(i), this.at(i), this.ino(i))
    }
    for (const [name, { type, ino }] of this.added) all.push(name, type, UPPER, ino)
    return new Listing(all)
  }

  /** Index of `name` in the sorted part, -1 when it is not there. */
  index(name: string): number {
    const hash = hashOf(name)
    for (let i = this.after(hash - 1); i < this.length; i++) {
      if (this.#isNamed(i, name) && !this.isGone(i)) return i
      // Names of one hash stand at consecutive offsets.
      if (this.offset(i) > hash + MOST_ALIKE) return -1
    }
    return -1
  }

  #isNamed(i: number, name: string): boolean {
    const from = this.start(i)
    if (this.end(i) - from !== name.length) return false
    for (let k = 0; k < name.length; k++) if (this.bytes[from + k] !== name.charCodeAt(k)) return false
    return true
  }

  /** Whether entry `i` has the name that entry `k` of `other` has. */
  isNamedAlike(i: number, other: Listing, k: number): boolean {
    const from = this.start(i)
    const length = this.end(i) - from
    const there = other.start(k)
    if (other.end(k) - there !== length) return false
    for (let j = 0; j < length; j++) if (this.bytes[from + j] !== other.bytes[there + j]) return false
    return true
  }

  /** The id under which the kernel knows entry `i` without a node, or 0. */
  childId(i: number): number {
    return this.listed === null ? 0 : (this.listed[CHILD_WORDS * i] as number)
  }

  childGeneration(i: number): number {
    return this.#child(i, Child.Generation)
  }

  childLookups(i: number): number {
    return this.#child(i, Child.Lookups)
  }

  /** Adds to the lookups of a child. Returns what they are then. */
  countLookups(i: number, more: number): number {
    const lookups = this.#child(i, Child.Lookups) + more
    if (this.listed !== null) this.listed[CHILD_WORDS * i + Child.Lookups] = Math.max(0, lookups)
    return lookups
  }

  #child(i: number, word: number): number {
    return this.listed === null ? 0 : (this.listed[CHILD_WORDS * i + word] as number)
  }

  /** Makes entry `i` a child without a node and, as yet, without lookups. */
  addChild(i: number, id: number, generation: number): void {
    this.listed ??= new Uint32Array(CHILD_WORDS * this.length)
    this.listed[CHILD_WORDS * i] = id
    this.listed[CHILD_WORDS * i + Child.Generation] = generation
    this.listed[CHILD_WORDS * i + Child.Lookups] = 0
    this.known++
  }

  /** Entry `i` is none any more. */
  removeChild(i: number): void {
    if (this.listed === null) return
    this.listed[CHILD_WORDS * i] = 0
    if (--this.known === 0) this.listed = null
  }
}

/** So many names of one hash never meet in a directory. */
const MOST_ALIKE = 64

/**
 * Notes that `node` came into a directory under `name`, in the upper. `only`: it is certain that no lower has the name, so
 * removing it will take no whiteout.
 */
export function noteAdded(parent: Node, name: string, node: Node, only = false): void {
  const dir = parent.dir
  if (dir === null) return
  dir.listing?.add(name, node.type >> 12, node.ino, only)
  if (node.type === S.IFDIR && dir.subdirs >= 0) dir.subdirs++
}

/** Notes that a name went out of a directory. */
export function noteRemoved(parent: Node, name: string, type: number): void {
  const dir = parent.dir
  if (dir === null) return
  dir.listing?.remove(name)
  if (type === S.IFDIR && dir.subdirs > 0) dir.subdirs--
}

/** Notes that a name of a lower is in the upper now. */
export function noteCopiedUp(parent: Node, name: string): void {
  parent.dir?.listing?.moveUp(name)
}
