/** Every change of the union, with the process ending, or an error from the disk, at each of its steps. */
import t from 'tap'
import { E } from '../../lib/errno.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { walk } from './all-or-nothing.js'
import { Injector, type Fault } from './injector.js'
import { scenarios } from './scenarios.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(170_000)
  const scratch = scratchDirectory(t)
  const injector = new Injector()
  injector.install()
  t.teardown(() => injector.remove())
  const only = process.env['CRASH_ONLY']
  const chosen = scenarios.filter(s => only === undefined || s.title.includes(only))
  const faults: [string, Fault][] = [
    ['the process ends', { kind: 'end' }],
    ['the disk is full', { kind: 'error', errno: E.ENOSPC }],
  ]
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
