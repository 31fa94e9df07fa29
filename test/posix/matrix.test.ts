/** The matrix of operations, kinds of names and open handles, on the union in process. */
import t from 'tap'
import { hostTarget } from './host-target.js'
import { matrix } from './matrix.js'
import { missingForTrees, scratchDirectory } from './scratch.js'
import { unionTarget } from './union-target.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const scratch = scratchDirectory(t)
  const [target, oracle] = [unionTarget(scratch, { passthrough: true }), hostTarget(scratch)]
  // The other states of a handle are in the long run.
  matrix(t, target, oracle, ['no handle', 'a reader older than the change'])
  target.close()
  oracle.close()
}
