/** The model test at length: 200,000 operations on the union in process, 40,000 on the mount with and without passthrough. */
import t from 'tap'
import { hostTarget } from '../posix/host-target.js'
import { mountTarget } from '../posix/mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { unionTarget } from '../posix/union-target.js'
import type { Target } from '../posix/target.js'
import { runSeeds } from './model.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t)
  const oracle = hostTarget(scratch)
  const first = Number(process.env['MODEL_SEED'] ?? 1000)
  const run = (title: string, subject: Target, seeds: number, count: number): Promise<unknown> =>
    t.test(title, async t => {
      const list = Array.from({ length: seeds }, (_, i) => first + i)
      const failure = runSeeds(subject, oracle, list, count, 0.005, { every: 25, directoryLinks: true })
      t.equal(failure, undefined, failure ?? 'the same as a plain directory')
      subject.close()
    })
  await run('union, cached', unionTarget(scratch, { passthrough: false }), 50, 2000)
  await run('union, passthrough', unionTarget(scratch, { passthrough: true }), 50, 2000)
  await run('mount', mountTarget(scratch, 'mount'), 10, 2000)
  await run('mount, writeback', mountTarget(scratch, 'mount', { passthrough: false }), 10, 2000)
  oracle.close()
}
