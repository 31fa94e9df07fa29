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
  const run = (
    title: string,
    make: (passthrough: boolean) => Target,
    passthrough: boolean,
    seeds: number,
    count: number,
  ): Promise<unknown> =>
    t.test(title, async t => {
      const list = Array.from({ length: seeds }, (_, i) => first + i)
      const subject = make(passthrough)
      const how = { every: 25, directoryLinks: true, leavesBehind: passthrough }
      const failure = runSeeds(subject, oracle, list, count, 0.005, how)
      t.equal(failure, undefined, failure ?? 'the same as a plain directory')
      subject.close()
    })
  const union = (passthrough: boolean): Target => unionTarget(scratch, { passthrough })
  const mount = (passthrough: boolean): Target => mountTarget(scratch, 'mount', { passthrough })
  await run('union, cached', union, false, 50, 2000)
  await run('union, passthrough', union, true, 50, 2000)
  await run('mount', mount, true, 10, 2000)
  await run('mount, writeback', mount, false, 10, 2000)
  oracle.close()
}
