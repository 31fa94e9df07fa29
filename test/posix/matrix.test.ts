/** The matrix of operations, kinds of names and open handles, on the union in process. */
import t from 'tap'
import { hostTarget } from './host-target.js'
import { matrix } from './matrix.js'
import { missingForTrees, scratchDirectory } from './scratch.js'
import { unionTarget } from './union-target.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(170_000)
  const scratch = scratchDirectory(t)
  const [target, oracle] = [unionTarget(scratch, { passthrough: true }), hostTarget(scratch)]
  matrix(t, target, oracle)
  target.close()
  oracle.close()
}
