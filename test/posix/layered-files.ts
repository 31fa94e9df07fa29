/** Owns the directories behind a layered tree: lowers, upper, work, and what must be true of them at the end. */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { AT } from '../../lib/sys/constants.js'
import { difference, fingerprint } from './fingerprint.js'
import { populate, removeTree, type Encoding } from './population.js'
import type { Layers } from './target.js'

export interface LayeredFiles {
  /** Base first. */
  readonly lowers: readonly string[]
  readonly upper: string
  readonly work: string
  readonly mountpoint: string
  /** After the last unmount: lowers that changed, things left in work. */
  problems(): string[]
  remove(): void
}

export function layeredFiles(root: string, layers: Layers, encoding: Encoding = 'char'): LayeredFiles {
  const [upper, work, mountpoint] = [join(root, 'upper'), join(root, 'work'), join(root, 'merged')]
  for (const d of [root, upper, work, mountpoint]) mkdirSync(d)
  const lowers = layers.lowers.map((items, i) => {
    const lower = join(root, `lower${i}`)
    mkdirSync(lower)
    populate(lower, items, encoding)
    return lower
  })
  if (layers.upper) populate(upper, layers.upper)
  const before = lowers.map(fingerprint)
  return {
    lowers,
    upper,
    work,
    mountpoint,
    problems: () => [
      ...lowers.flatMap((lower, i) => difference(before[i] ?? [], fingerprint(lower))),
      ...leftInWork(work).map(name => `left in work: ${name}`),
    ],
    remove: () => removeTree(AT.FDCWD, root),
  }
}

/** Names in the place for things under way. The index and the marks beside it are there to stay. */
export function leftInWork(work: string): string[] {
  const inside = join(work, 'work')
  try {
    return readdirSync(inside).filter(name => name !== 'incompat')
  } catch {
    return []
  }
}
