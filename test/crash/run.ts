/** Owns running every scenario under given faults as tests. */
import t from 'tap'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { walk } from './all-or-nothing.js'
import { Injector, type Fault } from './injector.js'
import { scenarios } from './scenarios.js'

/** A subtest per fault. `CRASH_ONLY` in the environment keeps scenarios whose title contains it. */
export async function runFaults(faults: readonly (readonly [title: string, fault: Fault])[]): Promise<void> {
  const missing = missingForTrees()
  if (missing !== undefined) {
    t.plan(0, missing)
    return
  }
  t.setTimeout(3_000_000)
  const scratch = scratchDirectory(t)
  const injector = new Injector()
  injector.install()
  t.teardown(() => injector.remove())
  const only = process.env['CRASH_ONLY']
  const chosen = scenarios.filter(s => only === undefined || s.title.includes(only))
  for (const [title, fault] of faults)
    await t.test(title, async t => {
      let total = 0
      for (const scenario of chosen) {
        const { points, wrong } = walk(scratch, scenario, fault, injector)
        total += points
        t.same(wrong, [], `${scenario.title}: ${points} points`)
      }
      t.ok(only !== undefined || total > 300, `${total} failure points walked`)
    })
}
