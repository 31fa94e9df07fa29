/** The suite's oracle: the host's own filesystem must pass every case that needs no layers. */
import t from 'tap'
import { hostTarget } from './host-target.js'
import { missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  const target = hostTarget(scratch)
  t.teardown(() => target.close())
  await suite(t, target)
}
