/**
 * Owns the model test: a random sequence of operations is done to a tree under test and to a plain directory, and both are
 * compared after each step. A sequence that fails is cut down to a short one that still fails, and printed as data.
 */
import { dir, file, hardlink, symlink, type Item } from '../posix/population.js'
import { snapshot } from '../posix/snapshot.js'
import type { Target, Tree } from '../posix/target.js'
import { Chooser, Player, type Operation } from './operations.js'
import { Random } from './random.js'

/** Lowers with names that the operations use: merged directories, hard links, sizes beyond a page. */
export const population: { lowers: Item[][]; upper: Item[] } = {
  lowers: [
    [
      dir('a'),
      file('a/a', 'base'.repeat(3000)),
      file('a/b', 'base b'),
      hardlink('a/c', 'a/b'),
      dir('a/d'),
      file('a/d/a', 'deep'),
      dir('b'),
      file('b/a', 'gone by opaque'),
      dir('b/b'),
      symlink('b/c', '../a/a'),
      file('c', 'c', { mode: 0o4755, xattrs: { 'user.x': 'low' } }),
    ],
    [
      dir('a', { mode: 0o700 }),
      file('a/\xff\x01', 'middle'),
      dir('a/d'),
      file('a/d/b', 'deep too'),
      dir('d'),
      file('d/d'),
    ],
  ],
  upper: [dir('b'), file('b/d', 'upper')],
}

export interface Difference {
  readonly step: number
  readonly operation: Operation
  readonly found: string
  readonly wanted: string
}

export interface Comparison {
  /** Compare the whole trees each `every` steps, and after the last. */
  readonly every: number
  readonly directoryLinks: boolean
  /** With passthrough: readers of a lower file do not see what its first writer does. */
  readonly leavesBehind?: boolean
}

const lowerFiles = population.lowers.flat().flatMap(item => (item.type === 'file' ? [item.path] : []))

/** Plays `operations` on a new tree of each target. The first difference, or undefined. */
export function compare(
  subject: Target,
  oracle: Target,
  operations: Iterable<Operation>,
  options: Comparison,
): Difference | undefined {
  const [tree, model] = [subject.make(population), oracle.make(population)]
  let difference: Difference | undefined
  let problems: string[]
  try {
    difference = compareTrees(tree, model, operations, options)
  } finally {
    model.close()
    problems = tree.close()
  }
  if (problems.length > 0) throw new Error(problems.join('\n'))
  return difference
}

/** What of a tree the model needs. */
export type Playground = Pick<Tree, 'fs' | 'remount'>

/** Plays `operations` on both, which are alike at the start. */
export function compareTrees(
  tree: Playground,
  model: Playground,
  operations: Iterable<Operation>,
  options: Comparison,
): Difference | undefined {
  const lowers = options.leavesBehind === true ? lowerFiles : []
  const player = new Player(tree.fs, () => tree.remount(), lowers)
  const reference = new Player(model.fs, () => model.remount(), lowers)
  let step = 0
  let last: Operation = { op: 'remount' }
  const trees = (): Difference | undefined => {
    const differ = treesDiffer(tree, model, options)
    return differ === undefined ? undefined : { step, operation: last, ...differ }
  }
  for (const operation of operations) {
    last = operation
    const wanted = reference.play(operation)
    const found = player.play(operation)
    if (found !== wanted) return { step, operation, found, wanted }
    if (step % options.every === 0 || operation.op === 'remount') {
      const difference = trees()
      if (difference !== undefined) return difference
    }
    step++
  }
  return trees()
}

function treesDiffer(
  tree: Playground,
  model: Playground,
  options: Comparison,
): { found: string; wanted: string } | undefined {
  const how = { directoryLinks: options.directoryLinks }
  const [found, wanted] = [snapshot(tree.fs, '', how), snapshot(model.fs, '', how)]
  const [is, was] = [new Set(found), new Set(wanted)]
  const extra = found.filter(line => !was.has(line))
  const missing = wanted.filter(line => !is.has(line))
  if (extra.length === 0 && missing.length === 0) return undefined
  return { found: extra.join('\n') || 'less', wanted: missing.join('\n') || 'less' }
}

/** `count` operations of a seed. */
export function sequence(seed: number, count: number, remounts: number): Operation[] {
  const chooser = new Chooser(new Random(seed), remounts)
  return Array.from({ length: count }, () => chooser.choose())
}

/** The shortest sequence found that still differs, by leaving out ever smaller pieces. At most `tries` replays. */
export function shorten(
  failing: readonly Operation[],
  differs: (o: readonly Operation[]) => boolean,
  tries = 150,
): Operation[] {
  let list = [...failing]
  for (let size = Math.ceil(list.length / 2); size >= 1 && tries > 0;) {
    let cut = false
    for (let at = 0; at < list.length && tries > 0;) {
      const without = [...list.slice(0, at), ...list.slice(at + size)]
      tries--
      if (differs(without)) {
        list = without
        cut = true
      } else at += size
    }
    if (size === 1 && !cut) break
    size = size === 1 ? 1 : Math.ceil(size / 2)
  }
  return list
}

/** A failure as a message to act on. */
export function explain(seed: number, difference: Difference, short: readonly Operation[]): string {
  return [
    `seed ${seed}, step ${difference.step}: ${JSON.stringify(difference.operation)}`,
    `found:  ${difference.found.slice(0, 2000)}`,
    `wanted: ${difference.wanted.slice(0, 2000)}`,
    `shortened to ${short.length}:`,
    ...short.map(o => JSON.stringify(o)),
  ].join('\n')
}

/** Runs sequences of seeds until one differs or all are done; the message of the first failure. */
export function runSeeds(
  subject: Target,
  oracle: Target,
  seeds: readonly number[],
  count: number,
  remounts: number,
  options: Comparison,
): string | undefined {
  for (const seed of seeds) {
    const operations = sequence(seed, count, remounts)
    const difference = compare(subject, oracle, operations, options)
    if (difference === undefined) continue
    const strict = { ...options, every: 1 }
    const upTo = operations.slice(0, difference.step + 1)
    const short = shorten(upTo, list => compare(subject, oracle, list, strict) !== undefined)
    return explain(seed, compare(subject, oracle, short, strict) ?? difference, short)
  }
  return undefined
}
