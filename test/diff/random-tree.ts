/** Owns random trees for property tests, from a seed: the same seed gives the same tree on every machine. */
import { S } from '../../lib/sys/constants.js'
import { dir, file, type Item, link } from './memory-layer.js'

/** A small deterministic generator (mulberry32): numbers in [0, 1). */
export function random(seed: number): () => number {
  let a = seed >>> 0
  return () => {
    a = (a + 0x6d2b79f5) >>> 0
    let t = a
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000
  }
}

const NAMES = ['a', 'b', 'c', 'a-b', 'a.b', '\xff', '\x1b[0m', '<i>', 'Ab', '\xc3\xa4']

export class Gardener {
  readonly next: () => number

  constructor(seed: number) {
    this.next = random(seed)
  }

  pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() * items.length)] as T
  }

  chance(p: number): boolean {
    return this.next() < p
  }

  leaf(): Item {
    const r = this.next()
    if (r < 0.15) return link(this.pick(['x', '/y', '../z']))
    if (r < 0.2) return { mode: S.IFIFO | 0o600 }
    if (r < 0.25) return { mode: S.IFCHR | 0o600, rdev: 0x103 }
    return file('x'.repeat(Math.floor(this.next() * 5)) + this.pick(['', 'p', 'q']), {
      mode: S.IFREG | this.pick([0o644, 0o600, 0o4755]),
      uid: this.pick([0, 0, 1000]),
      mtime: this.pick([1, 1, 2]),
      ...(this.chance(0.1) ? { xattrs: { 'user.k': this.pick(['1', '2']) } } : {}),
    })
  }

  tree(depth = 3): Item {
    const children = new Map<string, Item>()
    for (const name of NAMES) {
      if (this.chance(0.5)) continue
      if (depth > 0 && this.chance(0.4)) children.set(name, this.tree(depth - 1))
      else if (this.chance(0.1) && children.size > 0) {
        const other = this.pick([...children.values()])
        children.set(name, other.children ? this.leaf() : other)
      } else children.set(name, this.leaf())
    }
    return { ...dir(), children, mtime: this.pick([1, 2, 3]) }
  }

  /** A changed copy: some names removed, replaced, modified or linked; the rest as it was, hard links kept. */
  mutate(item: Item, seen = new Map<Item, Item>()): Item {
    const known = seen.get(item)
    if (known !== undefined) return known
    const copy: Item = { ...item }
    if (!item.children) {
      if (this.chance(0.15) && item.data !== undefined) copy.data = this.pick(['new', item.data])
      if (this.chance(0.1)) copy.uid = 7
      if (this.chance(0.05)) copy.xattrs = { 'user.k': '3' }
      seen.set(item, copy)
      return copy
    }
    const children = new Map<string, Item>()
    for (const [name, child] of item.children) {
      if (this.chance(0.1)) continue
      if (this.chance(0.07)) children.set(name, this.chance(0.5) ? this.leaf() : this.tree(1))
      else children.set(name, this.mutate(child, seen))
    }
    for (const name of NAMES) {
      if (children.has(name) || !this.chance(0.1)) continue
      const files = [...children.values()].filter(c => !c.children)
      if (files.length > 0 && this.chance(0.3)) children.set(name, this.pick(files))
      else children.set(name, this.chance(0.5) ? this.leaf() : this.tree(1))
    }
    if (this.chance(0.3)) copy.mtime = 9
    copy.children = children
    return copy
  }
}
