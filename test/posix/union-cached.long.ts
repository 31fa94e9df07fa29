/** The suite on the union in process, as a kernel without passthrough drives it. */
import t from 'tap'
import { missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'
import { unionTarget } from './union-target.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t)
  for (const passthrough of [false]) {
    const target = unionTarget(scratch, { passthrough })
    await suite(t, target)
    target.close()
  }
}
