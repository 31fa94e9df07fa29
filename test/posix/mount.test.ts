/** The suite on the mount: the direct transport with passthrough where the kernel has it. */
import t from 'tap'
import { mountTarget } from './mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const scratch = scratchDirectory(t)
  const target = mountTarget(scratch, 'mount')
  try {
    await suite(t, target)
  } finally {
    target.close()
  }
}
