/** Owns the directories behind a layered tree: lowers, upper, work, and what must be true of them at the end. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
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
  /** What must not change from now on: the lowers and `more`. Done once at the start, without `more`. */
  guard(more: readonly string[]): void
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
  // Reading moves the times of a store's objects, as of any file of the host.
  const look = (path: string): string[] =>
    lowers.includes(path) ? fingerprint(path) : fingerprint(path).map(line => line.replace(/ a-?\d+\.\d+ /, ' '))
  let guarded: { path: string; before: string[] }[] = []
  const guard = (more: readonly string[]): void => {
    guarded = [...lowers, ...more].map(path => ({ path, before: look(path) }))
  }
  guard([])
  return {
    lowers,
    upper,
    work,
    mountpoint,
    guard,
    problems: () => [
      ...guarded.flatMap(({ path, before }) => difference(before, look(path))),
      ...leftInWork(work).map(name => `left in work: ${name}`),
    ],
    remove: () => removeTree(AT.FDCWD, root),
  }
}

/** Makes the lowers of `files` one indexed lower, as an image's; they must be populated with `.wh.` marks. */
export function indexedLower(files: LayeredFiles, store: string): { path: string; objects: string } {
  const program = fileURLToPath(new URL('./index-lower.js', import.meta.url))
  const made = spawnSync(process.execPath, [program, store, ...files.lowers], { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(`index-lower: ${made.stderr}`)
  const index = JSON.parse(made.stdout) as { path: string; objects: string }
  files.guard([index.objects])
  return index
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
