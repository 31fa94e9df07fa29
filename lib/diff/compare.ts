/**
 * Owns the comparison of two trees, each a stack of layers: `compare`. A container against its image, an image against
 * another, a layer against what is below it and a directory against a directory are all this one walk.
 * How it stays as cheap as the change: where both stacks end in the same layers at the same place, only names that the
 * layers *above* list can differ, so only those are looked up. An upper of ten files over an image of 150,000 costs ten
 * look-ups; two images with a common base cost their own layers.
 * Invariant: the result is the change model's list (change.ts): sorted, each path once.
 */
import {
  type Aspect,
  type Attributes,
  byPath,
  childPath,
  type Change,
  inodeOf,
  isDirectory,
  isRegular,
  isSymlink,
} from './change.js'
import { sameContent } from './content.js'
import { type Entry, MergedTree, type Part } from './merged.js'
import type { Layer } from '../layer/layer.js'
import { S } from '../sys/constants.js'

export interface CompareOptions {
  /** Say `renamed` where a redirect tells so, instead of removed + added. Default false: what a layer tar needs. */
  readonly renames?: boolean
  /** Only these paths (absolute byte strings) and what is below them. Default: everything. */
  readonly within?: readonly string[]
  /** Do not report modifications of times alone. Default false. */
  readonly ignoreTimes?: boolean
  /**
   * Called for a file that was looked at, has other hard-linked names, and did not change: who writes the changes out
   * needs its name too, or a new link to it would become a copy.
   */
  readonly sameLink?: (path: string, attributes: Attributes) => void
}

/** Labels that the host puts on files, not the tree's author: never a difference. */
const IGNORED_XATTRS = new Set(['security.selinux', 'security.evm', 'security.ima'])

/**
 * What turns the tree `before` into the tree `after`; both **topmost layer first**, and either may be empty. Layers
 * that both have must be the same objects (`===`) for the comparison to skip them. Throws FsError when a layer cannot
 * be read.
 */
export function compare(before: readonly Layer[], after: readonly Layer[], options: CompareOptions = {}): Change[] {
  return compareTrees(new MergedTree(before), new MergedTree(after), options)
}

/** `compare` of trees that the caller keeps, to read from them afterwards. */
export function compareTrees(before: MergedTree, after: MergedTree, options: CompareOptions = {}): Change[] {
  return new Comparison(before, after, options).run()
}

interface Pair {
  readonly a: Entry | undefined
  readonly b: Entry
  readonly names: readonly string[]
  at: number
}

class Comparison {
  readonly #a: MergedTree
  readonly #b: MergedTree
  readonly #renames: boolean
  readonly #within: readonly string[] | undefined
  readonly #ignoreTimes: boolean
  readonly #sameLink: CompareOptions['sameLink']
  /** Copied-up files with several lower names, by the lower's inode. */
  readonly #copied = new Map<string, Extract<Change, { kind: 'modified' }>>()
  readonly #changes: Change[] = []
  /** Old places of what was found renamed: not reported as removed. */
  readonly #moved = new Set<string>()
  /** Where what was removed below a renamed directory lay in the tree before, by its path in the list. */
  readonly #old = new Map<string, string>()
  readonly #stack: Pair[] = []

  constructor(before: MergedTree, after: MergedTree, options: CompareOptions) {
    this.#a = before
    this.#b = after
    this.#renames = options.renames ?? false
    this.#within = options.within?.length
      ? options.within.map(p => (p === '/' ? '/' : p.replace(/\/+$/, '')))
      : undefined
    this.#ignoreTimes = options.ignoreTimes ?? false
    this.#sameLink = options.sameLink
  }

  run(): Change[] {
    const stack = this.#stack
    try {
      this.#pair('/', this.#a.root(), this.#b.root())
      for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
        const name = top.names[top.at++]
        if (name === undefined) {
          stack.pop()
          this.#release(top.a, top.b)
          continue
        }
        const path = childPath(top.b.path, name)
        this.#pair(path, top.a && this.#a.lookup(top.a, name), this.#b.lookup(top.b, name))
      }
    } finally {
      for (const { a, b } of stack) this.#release(a, b)
    }
    if (this.#copied.size > 0 || this.#b.hasCopies) this.#otherNames()
    const isMoved = (c: Change): boolean => c.kind === 'removed' && this.#moved.has(this.#old.get(c.path) ?? c.path)
    const changes = this.#moved.size > 0 ? this.#changes.filter(c => !isMoved(c)) : this.#changes
    return changes.sort(byPath)
  }

  #release(a: Entry | undefined, b: Entry | undefined): void {
    if (a !== undefined) this.#a.release(a)
    if (b !== undefined) this.#b.release(b)
  }

  /** Reports what differs between two objects, and puts their directories on the stack. Owns both entries. */
  #pair(path: string, a: Entry | undefined, b: Entry | undefined): void {
    let old = a
    let kept = false
    try {
      if (a === undefined && b === undefined) return
      const wanted = this.#wanted(path)
      if (wanted === 'no') return
      if (b === undefined) {
        if (wanted !== 'yes' || a === undefined) return
        if (a.path !== path) this.#old.set(path, a.path)
        this.#changes.push({ kind: 'removed', path, before: a.attributes })
        return
      }
      let from: string | undefined
      // Below a renamed directory the names simply continue: `a` is then found where `b` says it came from.
      if (this.#renames && b.origin !== path && b.parts.length > 1 && a?.path !== b.origin) {
        const origin = this.#origin(b)
        if (origin !== undefined) {
          if (a !== undefined) this.#a.release(a)
          old = origin
          from = origin.path
        }
      }
      if (wanted === 'yes') this.#report(path, old, b, from)
      kept = this.#descend(old, b)
    } finally {
      if (!kept) this.#release(old, b)
    }
  }

  /**
   * Where the renamed `b` was before, if the tree before has it there, made of the same parts, and the tree after does
   * not: a hard link to a file with a redirect is no rename.
   */
  #origin(b: Entry): Entry | undefined {
    const entry = this.#a.resolve(b.origin)
    if (entry === undefined) return undefined
    const same = entry.path === b.origin && sharedParts(entry.parts, b.parts) > 0
    const still = same ? this.#b.resolve(b.origin) : undefined
    const stayed = still !== undefined && sharedParts(still.parts, b.parts) > 0
    if (still !== undefined) this.#b.release(still)
    if (same && !stayed) return entry
    this.#a.release(entry)
    return undefined
  }

  #report(path: string, a: Entry | undefined, b: Entry, from: string | undefined): void {
    const after = b.attributes
    if (a === undefined) {
      this.#changes.push({ kind: 'added', path, after })
      return
    }
    const before = a.attributes
    const aspects = aspectsBetween(this.#a, a, this.#b, b, this.#ignoreTimes)
    if (from !== undefined) {
      this.#moved.add(from)
      this.#changes.push({ kind: 'renamed', path, from, aspects, before, after })
    } else if (b.opaque && path !== '/' && isDirectory(before) && isDirectory(after) && !sameTop(a, b)) {
      this.#changes.push({ kind: 'replaced', path, aspects, before, after })
    } else if (aspects.length > 0) {
      const change = { kind: 'modified', path, aspects, before, after } as const
      this.#changes.push(change)
      if (before.nlink > 1 && isRegular(before) && isCopiedUp(b)) this.#copied.set(inodeOf(before), change)
    } else if (after.nlink > 1 && !isDirectory(after)) this.#sameLink?.(path, after)
  }

  /**
   * Reports the names of copied-up files that the upper does not have. A union keeps hard links: a lower file copied up
   * under one name has changed under all its names, also when that one name is gone since (the upper's index has the copy
   * then). Costs a walk of the tree before, if there is such a file at all.
   */
  #otherNames(): void {
    const root = this.#a.root()
    if (root === undefined) return
    const known = new Set(this.#changes.map(c => c.path))
    this.#a.walk(root, old => {
      if (old.attributes.nlink < 2 || isDirectory(old.attributes)) return
      const copied = this.#copied.get(inodeOf(old.attributes))
      const { path } = old
      if ((copied === undefined && !this.#b.hasCopies) || known.has(path) || this.#wanted(path) !== 'yes') return
      const now = this.#b.resolve(path)
      if (now === undefined) return
      const copy = this.#b.isCopy(now)
      if (copied !== undefined && (copy || sameTop(old, now)))
        this.#changes.push({ ...copied, path, before: old.attributes, linkTo: copied.path })
      else if (copy) this.#report(path, old, now, undefined)
      this.#b.release(now)
    })
  }

  /** Puts the directories on the stack with the names that can differ. False: nothing to descend into. */
  #descend(a: Entry | undefined, b: Entry): boolean {
    if (!isDirectory(b.attributes)) return false
    const old = a !== undefined && isDirectory(a.attributes) ? a : undefined
    const shared = old === undefined ? 0 : sharedParts(old.parts, b.parts)
    const names = new Set(this.#b.candidates(b, b.parts.length - shared))
    if (old !== undefined) for (const n of this.#a.candidates(old, old.parts.length - shared)) names.add(n)
    if (names.size === 0) return false
    if (a !== undefined && old === undefined) this.#a.release(a)
    this.#stack.push({ a: old, b, names: [...names], at: 0 })
    return true
  }

  #wanted(path: string): 'yes' | 'above' | 'no' {
    if (this.#within === undefined) return 'yes'
    let above = false
    for (const w of this.#within) {
      if (w === '/' || path === w || path.startsWith(`${w}/`)) return 'yes'
      above ||= path === '/' || w.startsWith(`${path}/`)
    }
    return above ? 'above' : 'no'
  }
}

/** What differs between two objects, each of its own tree. Reads data only where nothing else tells. Throws FsError. */
export function aspectsBetween(a: MergedTree, ea: Entry, b: MergedTree, eb: Entry, ignoreTimes = false): Aspect[] {
  if (sameTop(ea, eb) && ea.parts.length === eb.parts.length) return []
  const before = ea.attributes
  const after = eb.attributes
  const aspects: Aspect[] = []
  if ((before.mode & S.IFMT) !== (after.mode & S.IFMT)) aspects.push('type')
  else if (!sameData(a, ea, b, eb)) aspects.push('content')
  if ((before.mode & 0o7777) !== (after.mode & 0o7777)) aspects.push('mode')
  if (before.uid !== after.uid || before.gid !== after.gid) aspects.push('owner')
  if (!ignoreTimes && (before.mtime !== after.mtime || before.mtimeNs !== after.mtimeNs)) aspects.push('time')
  if (!sameXattrs(a.xattrs(ea), b.xattrs(eb))) aspects.push('xattr')
  return aspects
}

function sameData(a: MergedTree, ea: Entry, b: MergedTree, eb: Entry): boolean {
  if (isRegular(ea.attributes)) return sameContent(a, ea, b, eb)
  if (isSymlink(ea.attributes)) return a.readlink(ea) === b.readlink(eb)
  return ea.attributes.rdev === eb.attributes.rdev
}

/** How many parts at the end of both lists are the same directory of the same layer. */
function sharedParts(a: readonly Part[], b: readonly Part[]): number {
  let n = 0
  while (n < a.length && n < b.length && samePart(a[a.length - 1 - n] as Part, b[b.length - 1 - n] as Part)) n++
  return n
}

function samePart(a: Part, b: Part): boolean {
  return a.layer === b.layer && a.path === b.path
}

function sameTop(a: Entry, b: Entry): boolean {
  return samePart(a.parts[0] as Part, b.parts[0] as Part)
}

/**
 * The object is a copy of a lower one that its other names follow: overlayfs' origin mark (which it does not set where
 * copying up breaks a hard link), or the union's own mark where there can be none. A layer from a tar has neither.
 */
function isCopiedUp(entry: Entry): boolean {
  const { layer, node } = entry.parts[0] as Part
  return layer.overlayXattr(node, 'origin') !== undefined || layer.overlayXattr(node, 'lamina') !== undefined
}

function sameXattrs(a: Map<string, Buffer>, b: Map<string, Buffer>): boolean {
  for (const name of IGNORED_XATTRS) {
    a.delete(name)
    b.delete(name)
  }
  if (a.size !== b.size) return false
  for (const [name, value] of a) {
    const other = b.get(name)
    if (other === undefined || !value.equals(other)) return false
  }
  return true
}
