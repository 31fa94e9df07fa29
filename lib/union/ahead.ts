/**
 * Owns what is done before anybody asks: who lists a directory goes on to its next names, who walks a tree to the next
 * directory in it, and who reads files to the next ones (read-ahead.ts). Between two requests that process is busy with what it
 * got, and this one would sleep: so a walk is served by two processors, and what a cold disk costs is paid while nobody waits.
 * Invariants: nothing that anybody sees is changed (access times neither); at most AHEAD names in each of few directories
 * are known without having been asked for; a walk that goes elsewhere costs no more until it has been foreseen again.
 */
import { DT } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import { listingOf } from './list.js'
import { foresee, hasNode, NEEDS_NODE } from './listed.js'
import type { Listing } from './listing.js'
import { lookupAt } from './lookup.js'
import { DirKind, type Node } from './node.js'
import type { Tree } from './tree.js'

/** Names looked up before the driver looks for a request again: less than what waking up takes. */
const STEP = 8
const AHEAD = 1024
const DIRECTORIES = 4
/** So many directories in a row were the foreseen ones: it is a walk. */
const SURE = 2

const st = new Stat()

/** Entries of a directory that are looked up (`from` to `at`) and not asked for yet. */
interface Prepared {
  readonly node: Node
  readonly listing: Listing
  readonly from: number
  at: number
}

export class Ahead {
  readonly #tree: Tree
  /** The directory that is being listed, when there is more of it. */
  #now: Prepared | undefined
  /** Those that should come then. */
  #next: Prepared[] = []
  /** What should come then, when nothing is prepared. */
  #expected: Node | null = null
  #right = 0

  constructor(tree: Tree) {
    this.#tree = tree
  }

  /** The directories that were listed last were the foreseen ones. */
  get sure(): boolean {
    return this.#right >= SURE
  }

  /**
   * Entries of `node` up to `at` have been handed out with attributes, now from the beginning of it or further on. Entry `at`,
   * if there is one, has been looked up too.
   */
  listed(node: Node, listing: Listing, at: number, beginning: boolean): void {
    const now = this.#now
    this.#now = undefined
    let done = now?.node === node ? now.at : at
    if (now !== undefined && now.node !== node) this.#drop(now)
    if (beginning) {
      const [first] = this.#next
      this.#right = node === (first?.node ?? this.#expected) ? Math.min(SURE, this.#right + 1) : 0
      this.#expected = null
      if (first?.node === node && first.listing === listing) {
        done = first.at
        this.#next.shift()
      } else this.#dropNext()
    }
    if (at >= listing.length) this.#tree.readAhead.listed(node, listing)
    if (at < listing.length) this.#now = { node, listing, from: at, at: Math.max(at + 1, done) }
    else if (this.#next.length === 0) this.#expected = this.#after(node)
  }

  /** Reads a file or looks up a few names. False: there is nothing to do. */
  step(): boolean {
    if (this.#tree.readAhead.step()) return true
    const now = this.#now
    if (now !== undefined && this.#prepare(now)) return true
    if (!this.sure) return false
    const last = this.#next.at(-1)
    if (last !== undefined && this.#prepare(last)) return true
    if (this.#next.length === DIRECTORIES) return false
    const from = last ?? now
    const node = from === undefined ? this.#expected : this.#after(from.node)
    // A directory of the upper gets its access time when it is listed, and so must be listed then.
    if (node?.dir?.kind !== DirKind.Lower) return false
    const listing = listingOf(this.#tree, node)
    if (typeof listing === 'number') {
      this.#right = 0
      return false
    }
    this.#next.push({ node, listing, from: 0, at: 0 })
    return true
  }

  /** False: all of it is there, or as much as may be, or it has changed. */
  #prepare(prepared: Prepared): boolean {
    const { node, listing, from, at } = prepared
    const end = Math.min(listing.length, from + AHEAD, at + STEP)
    if (at >= end || node.dir?.listing !== listing || this.#tree.nodes.get(node.id) !== node) return false
    for (let i = at; i < end; i++) {
      if (listing.isGone(i) || listing.childId(i) !== 0 || hasNode(node, listing, i)) continue
      if (foresee(this.#tree, node, listing, i, st, AHEAD) === NEEDS_NODE)
        lookupAt(this.#tree, node, listing.name(i), listing.at(i), st, listing.ino(i))
    }
    prepared.at = end
    return true
  }

  /** Forgets everything that nobody came for. */
  clear(): void {
    this.#tree.readAhead.clear()
    if (this.#now !== undefined) this.#drop(this.#now)
    this.#now = undefined
    this.#expected = null
    this.#right = 0
    this.#dropNext()
  }

  #dropNext(): void {
    for (const prepared of this.#next) this.#drop(prepared)
    this.#next = []
  }

  #drop({ node, listing, from, at }: Prepared): void {
    listing.foreseen = null
    for (let i = from; i < at; i++) {
      const children = node.dir?.children ?? null
      if (children === null || children.size === 0) return
      const child = children.get(listing.name(i))
      if (child !== undefined && child.lookups <= 0) this.#tree.collect(child)
    }
  }

  /** The directory behind `node` in a walk: its first one, or else the next beside it or beside what it is in. */
  #after(node: Node): Node | null {
    const inside = firstDirectory(node, 0)
    if (inside !== null) return inside
    for (let n = node; n.parent !== null; n = n.parent) {
      const at = n.parent.dir?.listing?.index(n.name) ?? -1
      if (at < 0) return null
      const beside = firstDirectory(n.parent, at + 1)
      if (beside !== null) return beside
    }
    return null
  }
}

/** The first directory from entry `from` on of what is known of `node`. */
function firstDirectory({ dir }: Node, from: number): Node | null {
  const listing = dir?.listing ?? null
  if (dir === null || listing === null) return null
  for (let i = from; i < listing.length; i++)
    if (listing.type(i) === DT.DIR && !listing.isGone(i)) return dir.children?.get(listing.name(i)) ?? null
  return null
}
