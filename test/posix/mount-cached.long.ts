/** The suite on the mount without passthrough: writes cached by the kernel, and not. */
import t from 'tap'
import { mountTarget } from './mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t, true)
  for (const writeback of [true, false]) {
    const target = mountTarget(scratch, `mount, no passthrough, writeback ${writeback ? 'on' : 'off'}`, {
      passthrough: false,
      writeback,
      ...(writeback ? { differences: { holes: 'with writeback caching every file is data from end to end' } } : {}),
    })
    try {
      await suite(t, target)
    } finally {
      target.close()
    }
  }
}
