/** The suite on kernel overlayfs: proves the layered cases against the reference they are taken from. */
import t from 'tap'
import { kernelTarget } from './kernel-target.js'
import { missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t, true)
  const target = kernelTarget(scratch)
  t.teardown(() => target.close())
  t.setTimeout(3_500_000)
  await suite(t, target)
}
