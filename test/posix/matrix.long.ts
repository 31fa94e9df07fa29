/** The matrix of operations, kinds of names and open handles, on the mount with and without passthrough. */
import t from 'tap'
import { hostTarget } from './host-target.js'
import { matrix } from './matrix.js'
import { mountTarget } from './mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t)
  const oracle = hostTarget(scratch)
  for (const passthrough of [true, false])
    await t.test(passthrough ? 'passthrough' : 'no passthrough', async t => {
      const target = mountTarget(scratch, 'mount', { passthrough })
      matrix(t, target, oracle)
      target.close()
    })
  oracle.close()
}
