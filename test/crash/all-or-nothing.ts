/**
 * Owns the proof: for a scenario and a fault, walks the fault through every change the call makes, and after each looks
 * whether the tree is one of the two legal ones, before and after a remount, with nothing left in work.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { createUnion } from '../../lib/union/options.js'
import { outcome } from '../posix/case.js'
import { layeredFiles, leftInWork } from '../posix/layered-files.js'
import { snapshot, type SnapshotOptions } from '../posix/snapshot.js'
import { UnionVfs } from '../posix/union-vfs.js'
import { Ended, type Fault, type Injector } from './injector.js'
import type { Scenario } from './scenarios.js'

/** More changes than any single call makes. */
const LIMIT = 200
/** A disk that fails while a directory's times are given back after a copy-up leaves them at now; a crash does not. */
const how = (fault: Fault) => ({ directoryTimes: fault.kind === 'end', directoryLinks: true })

let count = 0

/** What went wrong, as lines; empty when all is well. `points` counts the failure points walked. */
export function walk(
  scratch: string,
  scenario: Scenario,
  fault: Fault,
  injector: Injector,
): { points: number; wrong: string[] } {
  const wrong: string[] = []
  const options = how(fault)
  const { before, after } = legalStates(scratch, scenario, injector, options)
  for (let k = 0; k < LIMIT; k++) {
    const stack = new Stack(scratch, scenario, injector)
    const say = (text: string): void =>
      void wrong.push(`${scenario.title}, ${fault.kind} at change ${k} (${injector.calls.at(-1)}): ${text}`)
    injector.arm(k, fault)
    const result = attempt(() => scenario.act(stack.fs))
    const struck = injector.struck
    injector.disarm()
    if (!struck) {
      if (result !== 'ended' && result < 0) say(`without a fault: ${outcome(result)}`)
      stack.close()
      return { points: k, wrong }
    }
    if (result === 'ended') stack.crash(injector)
    else {
      const now = snapshot(stack.fs, '', options)
      if (result >= 0 && !same(now, after)) say(`said OK, and shows\n${differ(now, after)}`)
      if (result < 0 && !same(now, before) && !same(now, after))
        say(`said ${outcome(result)}, and shows\n${differ(now, before)}`)
      stack.remount()
    }
    const now = snapshot(stack.fs, '', options)
    const isAfter = same(now, after)
    if (!isAfter && !same(now, before)) say(`after a remount\n${differ(now, before)}\nor\n${differ(now, after)}`)
    // The upper is good: the same call works now, or is done already.
    if (!isAfter) {
      const again = scenario.act(stack.fs)
      if (again < 0) say(`again after a remount: ${outcome(again)}`)
      else if (!same(snapshot(stack.fs, '', options), after))
        say(`again after a remount\n${differ(snapshot(stack.fs, '', options), after)}`)
    }
    for (const problem of stack.close()) say(problem)
  }
  return { points: LIMIT, wrong: [...wrong, `${scenario.title}: no end`] }
}

function attempt(run: () => number): number | 'ended' {
  try {
    return run()
  } catch (error) {
    if (error instanceof Ended) return 'ended'
    throw error
  }
}

function legalStates(
  scratch: string,
  scenario: Scenario,
  injector: Injector,
  options: SnapshotOptions,
): { before: string[]; after: string[] } {
  const stack = new Stack(scratch, scenario, injector)
  const before = snapshot(stack.fs, '', options)
  scenario.act(stack.fs)
  const after = snapshot(stack.fs, '', options)
  stack.close()
  return { before, after }
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((line, i) => line === b[i])
}

function differ(found: readonly string[], wanted: readonly string[]): string {
  return [
    ...found.filter(line => !wanted.includes(line)).map(line => `  + ${line}`),
    ...wanted.filter(line => !found.includes(line)).map(line => `  - ${line}`),
  ].join('\n')
}

/** One tree of a scenario, prepared. */
class Stack {
  readonly fs = new UnionVfs()
  readonly #files
  readonly #injector: Injector

  constructor(scratch: string, scenario: Scenario, injector: Injector) {
    const root = join(scratch, 'stacks')
    mkdirSync(root, { recursive: true })
    this.#injector = injector
    this.#files = layeredFiles(join(root, String(count++)), scenario.layers)
    this.#attach()
    scenario.prepare?.(this.fs)
  }

  #attach(): void {
    const { lowers, upper, work } = this.#files
    this.fs.attach(
      createUnion({
        lowers: lowers.toReversed().map(openDirectoryLayer),
        upper: { path: upper },
        work: { path: work },
      }),
      { passthrough: false, runJob: this.#injector.runJob },
    )
  }

  remount(): void {
    this.fs.detach()
    this.#attach()
  }

  /** The process has ended: what it held is gone, nothing more was written. */
  crash(injector: Injector): void {
    injector.silence()
    this.fs.abandon()
    injector.disarm()
    this.#attach()
    // The whiteout that all are links of is made anew at each mount.
    const left = leftInWork(this.#files.work).filter(name => name !== '#whiteout')
    if (left.length > 0) throw new Error(`not swept at the next mount: ${left.join(' ')}`)
  }

  close(): string[] {
    this.fs.detach()
    const problems = this.#files.problems()
    this.#files.remove()
    return problems
  }
}
