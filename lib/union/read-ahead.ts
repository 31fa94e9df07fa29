/**
 * Owns reading files before anybody asks: who opens the files of a directory one after the other, in the order of its listing or
 * of their inode numbers (which is how tar and cp go about it), is going on to the next ones. Their data is asked of the disk
 * while the process is busy with what it has: it waits for the disk less, and the disk has more than one thing to do at a time.
 * Only files of the lowers, and only where the disk is what one waits for: next files that come at once are in memory, and
 * asking for them costs more than it gives.
 * Invariants: what anybody sees is the same with and without; nothing stays open; who stops reading leaves at most DEPTH files
 * read in vain; opens in no order cost a look at the directory's listing.
 */
import { now } from '../clock.js'
import { DT, S } from '../sys/constants.js'
import { close, willNeed } from '../sys/file.js'
import { Stat } from '../sys/stat.js'
import { type Listing, UPPER } from './listing.js'
import { findIn, mayBeMetacopy } from './lookup-lower.js'
import type { Node } from './node.js'
import type { Tree } from './tree.js'

/** So many files in a row were the expected ones. */
const SURE = 3
/** Files that are read before they are opened. */
const DEPTH = 8
/** Of each at most so many bytes: what is read in order is read ahead by the kernel. */
const BYTES = 256 << 10
/** A file that is asked for within this has not been waited for, in ms. */
const AT_ONCE = 0.03
/** After so many of them in a row, ... */
const PATIENCE = 16
/** ... nothing is read ahead while so many are opened. */
const PAUSE = 32
/** Entries of a directory that is worth sorting. */
const MOST_SORTED = 2048

const st = new Stat()

export class ReadAhead {
  readonly #tree: Tree
  readonly #clock: () => number
  /** Whose files are being opened. */
  #directory: Node | null = null
  #listing: Listing | null = null
  /** Its files by their numbers, as entries of the listing; null: they are opened in the order of the listing. */
  #sorted: Uint32Array | null = null
  /** Steps in that order, from 0 to `#length`: which is expected to be opened next, and which is to be read next. */
  #expected = 0
  #next = 0
  /** The entry that was opened last, -1: none of this listing. */
  #last = -1
  #right = 0
  #atOnce = 0
  #pause = 0

  /** `clock` tells milliseconds. */
  constructor(tree: Tree, clock: () => number = now) {
    this.#tree = tree
    this.#clock = clock
  }

  /** A lower file that was not open lately has been opened to be read. */
  opened(node: Node): void {
    const directory = node.parent
    const listing = directory?.dir?.listing ?? null
    if (directory === null || listing === null) {
      this.clear()
      return
    }
    if (listing !== this.#listing) this.#enter(directory, listing)
    if (this.#pause > 0) this.#pause--
    const entry = listing.index(node.name)
    let step = this.#stepOf(entry)
    if (step === this.#expected) this.#right = Math.min(SURE, this.#right + 1)
    // Some were passed over.
    else if (step > this.#expected && step < this.#next) this.#right = Math.max(0, this.#right - 1)
    else step = this.#mistaken(listing, entry)
    this.#expected = this.#after(listing, step)
    this.#next = Math.max(this.#next, this.#expected)
    this.#last = entry
  }

  /** All of `directory` has been listed: if the files of the one before have been opened, but for one, its files are next. */
  listed(directory: Node, listing: Listing): void {
    const before = this.#listing
    // The end of a listing is told twice: to who asks for more, too.
    if (this.#right < SURE || before === null || before === listing) return
    if (this.#after(before, this.#expected) >= this.#length(before)) this.#enter(directory, listing)
  }

  /** Reads the next file. False: there is nothing to do. */
  step(): boolean {
    if (this.#right < SURE || this.#pause > 0) return false
    const listing = this.#listing
    const directory = this.#directory
    if (listing === null || directory === null || directory.dir?.listing !== listing) return false
    if (this.#next >= Math.min(this.#length(listing), this.#expected + DEPTH)) return false
    const entry = this.#entryAt(this.#next)
    this.#next = this.#after(listing, this.#next)
    const began = this.#clock()
    this.#read(directory, listing, entry)
    this.#atOnce = this.#clock() - began < AT_ONCE ? this.#atOnce + 1 : 0
    if (this.#atOnce === PATIENCE) {
      this.#atOnce = 0
      this.#pause = PAUSE
    }
    return true
  }

  /** Expects nothing any more. */
  clear(): void {
    this.#directory = null
    this.#listing = null
    this.#sorted = null
    this.#right = 0
  }

  /** In a new directory the files are expected in the same order. */
  #enter(directory: Node, listing: Listing): void {
    const byNumber = this.#sorted !== null && this.#right === SURE
    this.#directory = directory
    this.#listing = listing
    this.#sorted = byNumber ? filesByNumber(listing) : null
    this.#expected = this.#sorted === null ? fileFrom(listing, 0) : 0
    this.#next = this.#expected
    this.#last = -1
  }

  /** `entry` was not expected: it may be the next one by its number. Returns the step that it is then. */
  #mistaken(listing: Listing, entry: number): number {
    const byNumber = this.#sorted === null && this.#last >= 0 && followsByNumber(listing, this.#last, entry)
    this.#sorted = byNumber ? filesByNumber(listing) : null
    this.#right = byNumber ? 1 : 0
    this.#next = 0
    return this.#stepOf(entry)
  }

  #length(listing: Listing): number {
    return this.#sorted === null ? listing.length : this.#sorted.length
  }

  #entryAt(step: number): number {
    return this.#sorted === null ? step : (this.#sorted[step] as number)
  }

  /** -1: it is none of the files. */
  #stepOf(entry: number): number {
    if (this.#sorted === null) return entry
    return this.#sorted[this.#expected] === entry ? this.#expected : this.#sorted.indexOf(entry)
  }

  #after(listing: Listing, step: number): number {
    return this.#sorted === null ? fileFrom(listing, step + 1) : step + 1
  }

  #read(directory: Node, listing: Listing, entry: number): void {
    // It may have been removed or copied up since.
    const ref = isFile(listing, entry) ? directory.dir?.lowers[listing.at(entry)] : undefined
    if (ref === undefined) return
    const tree = this.#tree
    const layer = tree.layer(ref.layer)
    const node = findIn(tree, layer, ref.node, listing.name(entry), st, listing.ino(entry))
    if (node < 0) return
    if ((st.mode & S.IFMT) === S.IFREG && st.size > 0 && !mayBeMetacopy(tree, ref.layer, st)) {
      const fd = layer.open(node)
      if (fd >= 0) {
        willNeed(fd, Math.min(st.size, BYTES))
        close(fd)
      }
    }
    layer.release(node)
  }
}

function isFile(listing: Listing, entry: number): boolean {
  return listing.type(entry) === DT.REG && listing.at(entry) !== UPPER && !listing.isGone(entry)
}

/** The first regular file of a lower among the entries from `entry` on; the listing's length when there is none. */
function fileFrom(listing: Listing, entry: number): number {
  while (entry < listing.length && !isFile(listing, entry)) entry++
  return entry
}

/** Whether no file's number is between those of the entries `before` and `entry`. */
function followsByNumber(listing: Listing, before: number, entry: number): boolean {
  const [from, to] = [listing.ino(before), listing.ino(entry)]
  if (from >= to || from === 0 || listing.length > MOST_SORTED) return false
  for (let i = fileFrom(listing, 0); i < listing.length; i = fileFrom(listing, i + 1)) {
    const ino = listing.ino(i)
    if (ino > from && ino < to) return false
  }
  return true
}

/** The regular files of a lower, by their numbers; null: too many to be sorted. */
function filesByNumber(listing: Listing): Uint32Array | null {
  if (listing.length > MOST_SORTED) return null
  const files: number[] = []
  for (let i = fileFrom(listing, 0); i < listing.length; i = fileFrom(listing, i + 1)) files.push(i)
  return Uint32Array.from(files.sort((a, b) => listing.ino(a) - listing.ino(b)))
}
