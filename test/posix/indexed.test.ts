/** The suite on indexed lowers, as images have them: the union in process, as a kernel with passthrough drives it. */
import t from 'tap'
import { missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'
import { unionTarget } from './union-target.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const target = unionTarget(scratchDirectory(t), { passthrough: true, indexed: true })
  await suite(t, target)
  target.close()
}
