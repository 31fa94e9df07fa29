/**
 * Owns one directory's listing: the names that the merge shows, in what order, and in which part of the merge each stands.
 * Order and offset of an entry come from a 51-bit hash of its name, so an offset belongs to the name for ever, without any
 * open handle: entries may come and go between two calls, a listing can be dropped and made again, and the kernel may keep
 * what it has read. (The kernel's ext4 does the same.) Two names with one hash stand next to each other, in name order,
 * with consecutive offsets.
 * Invariant: a listing, while kept, holds exactly the entries of the merged directory, and where each is found.
 */
import { S } from '../sys/constants.js'
import type { Node } from './node.js'

/** The first offset a name can have: `.` and `..` are 1 and 2. */
export const FIRST_OFFSET = 3

/** Where an entry stands: an index into `Directory.lowers`, or one of these. */
export const UPPER = 0xffff
export const NOWHERE = -1

/** In an entry's type byte, beside the dirent type: it is certain that no lower of the directory has the name. */
const ONLY = 0x80
const TYPE = 0x0f

/** Entries in the order they were found, to make a listing of. */
export class Found {
  readonly names: string[] = []
  readonly types: number[] = []
  readonly at: number[] = []
  /** Inode numbers as the union shows them; 0 where only a lookup tells. */
  readonly inos: number[] = []

  push(name: string, type: number, at: number, ino: number): void {
    this.names.push(name)
    this.types.push(type)
    this.at.push(at)
    this.inos.push(ino)
  }
}

/** An entry made since the listing was sorted. */
interface Added {
  readonly type: number
  readonly ino: number
}

export class Listing {
  /** Sorted by offset. A removed entry's name is ''. */
  readonly names: string[]
  readonly offsets: Float64Array
  readonly inos: Float64Array
  readonly #types: Uint8Array
  readonly #at: Uint16Array
  /** Live entries of the sorted part and the added ones. */
  count: number
  /** Entries made since, all in the upper, not yet sorted in. */
  added: Map<string, Added> | null = null

  constructor(found: Found) {
    const n = found.names.length
    const hashes = new Float64Array(n)
    for (let i = 0; i < n; i++) hashes[i] = hashOf(found.names[i] as string)
    const order = orderOf(hashes, found.names)
    this.names = new Array<string>(n)
    this.offsets = new Float64Array(n)
    this.inos = new Float64Array(n)
    this.#types = new Uint8Array(n)
    this.#at = new Uint16Array(n)
    let last = 0
    for (let i = 0; i < n; i++) {
      const from = order[i] as number
      last = Math.max(last + 1, hashes[from] as number)
      this.names[i] = found.names[from] as string
      this.offsets[i] = last
      this.inos[i] = found.inos[from] as number
      this.#types[i] = found.types[from] as number
      this.#at[i] = found.at[from] as number
    }
    this.count = n
  }

  /** The dirent type of entry `i`. */
  type(i: number): number {
    return direntType(this.#types[i] as number)
  }

  /** Where entry `i` stands. */
  at(i: number): number {
    return this.#at[i] as number
  }

  /** Index of the first entry after `offset`. */
  after(offset: number): number {
    let low = 0
    let high = this.offsets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.offsets[middle] as number) > offset) high = middle
      else low = middle + 1
    }
    return low
  }

  /** Where `name` stands; NOWHERE: the directory shows no such name. */
  place(name: string): number {
    if (this.added !== null && this.added.has(name)) return UPPER
    const i = this.index(name)
    return i < 0 ? NOWHERE : (this.#at[i] as number)
  }

  /** Whether it is certain that the lowers have nothing under `name`, which stands in the upper. */
  isOnlyUpper(name: string): boolean {
    const entry = this.added?.get(name)
    if (entry !== undefined) return (entry.type & ONLY) !== 0
    const i = this.index(name)
    return i >= 0 && this.#at[i] === UPPER && ((this.#types[i] as number) & ONLY) !== 0
  }

  /** `only`: nothing in the lowers has this name. */
  add(name: string, type: number, ino: number, only: boolean): void {
    this.added ??= new Map()
    if (!this.added.has(name)) this.count++
    this.added.set(name, { type: only ? type | ONLY : type, ino })
  }

  remove(name: string): void {
    if (this.added?.delete(name) === true) {
      this.count--
      return
    }
    const i = this.index(name)
    if (i < 0) return
    this.names[i] = ''
    this.count--
  }

  /** An entry of a lower has been copied up under its name. */
  moveUp(name: string): void {
    const i = this.index(name)
    if (i < 0) return
    this.#at[i] = UPPER
    this.#types[i] = direntType(this.#types[i] as number)
  }

  /** This listing with the added entries in their places. */
  settled(): Listing {
    if (this.added === null || this.added.size === 0) return this
    const all = new Found()
    for (let i = 0; i < this.names.length; i++) {
      const name = this.names[i] as string
      if (name !== '') all.push(name, this.#types[i] as number, this.#at[i] as number, this.inos[i] as number)
    }
    for (const [name, { type, ino }] of this.added) all.push(name, type, UPPER, ino)
    return new Listing(all)
  }

  /** Index of `name` in the sorted part, -1 when it is not there. */
  index(name: string): number {
    const hash = hashOf(name)
    for (let i = this.after(hash - 1); i < this.names.length; i++) {
      if (this.names[i] === name) return i
      // Names of one hash stand at consecutive offsets.
      if ((this.offsets[i] as number) > hash + MOST_ALIKE) return -1
    }
    return -1
  }
}

/** So many names of one hash never meet in a directory. */
const MOST_ALIKE = 64

/**
 * Indexes of `hashes` in ascending order, names deciding between equal ones. The hashes are spread evenly, so putting each
 * into one of n buckets by its size leaves next to nothing to sort: linear, where a comparison sort of 20,000 takes 10 ms.
 */
function orderOf(hashes: Float64Array, names: readonly string[]): Uint32Array {
  const n = hashes.length
  const scale = n / 2 ** 51
  const starts = new Uint32Array(n + 1)
  const bucket = (i: number): number => Math.min(n - 1, Math.floor((hashes[i] as number) * scale))
  for (let i = 0; i < n; i++) {
    const b = bucket(i) + 1
    starts[b] = (starts[b] as number) + 1
  }
  for (let i = 1; i <= n; i++) starts[i] = (starts[i] as number) + (starts[i - 1] as number)
  const order = new Uint32Array(n)
  for (let i = 0; i < n; i++) {
    const b = bucket(i)
    const at = starts[b] as number
    order[at] = i
    starts[b] = at + 1
  }
  // Only neighbours can be out of order now.
  for (let i = 1; i < n; i++) {
    const moving = order[i] as number
    let to = i
    while (to > 0 && isAfter(order[to - 1] as number, moving)) {
      order[to] = order[to - 1] as number
      to--
    }
    order[to] = moving
  }
  return order

  function isAfter(a: number, b: number): boolean {
    const d = (hashes[a] as number) - (hashes[b] as number)
    return d !== 0 ? d > 0 : (names[a] as string) > (names[b] as string)
  }
}

/** 51 bits, at least FIRST_OFFSET: two rounds of multiply and rotate over the bytes, mixed at the end. */
export function hashOf(name: string): number {
  let a = 0x9e3779b9
  let b = 0x85ebca6b
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i)
    a = Math.imul(a ^ c, 0x01000193)
    b = Math.imul(b + c, 0xc2b2ae35)
    b = (b << 13) | (b >>> 19)
  }
  a = Math.imul(a ^ (a >>> 16) ^ b, 0x85ebca6b)
  b = Math.imul(b ^ (b >>> 15) ^ a, 0x27d4eb2f)
  return FIRST_OFFSET + (((a ^ (a >>> 13)) >>> 13) * 0x100000000 + ((b ^ (b >>> 16)) >>> 0))
}

/** The type byte of an entry of the upper that no lower has. */
export function onlyUpper(type: number): number {
  return type | ONLY
}

/** The dirent type in a type byte, which stays when it turns out that a lower has the name as well. */
export function direntType(byte: number): number {
  return byte & TYPE
}

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
