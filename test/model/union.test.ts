/** The model test on the union in process: thousands of operations, remounts included, compared after each step. */
import t from 'tap'
import { hostTarget } from '../posix/host-target.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { unionTarget } from '../posix/union-target.js'
import { runSeeds } from './model.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const scratch = scratchDirectory(t)
  const oracle = hostTarget(scratch)
  // MODEL_SEED=n plays that seed alone.
  const given = process.env['MODEL_SEED']
  const seeds = given === undefined ? [1, 2, 3, 4, 5, 6] : [Number(given)]
  for (const passthrough of [false, true]) {
    await t.test(passthrough ? 'passthrough' : 'cached', async t => {
      const subject = unionTarget(scratch, { passthrough })
      const how = { every: 8, directoryLinks: true, leavesBehind: passthrough }
      const failure = runSeeds(subject, oracle, seeds, 400, 0.01, how)
      t.equal(failure, undefined, failure ?? 'the same as a plain directory')
      subject.close()
    })
  }
  oracle.close()
}
