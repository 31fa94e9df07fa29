/** The suite on the mount without passthrough: writes cached by the kernel, and not; opens announced, and not. */
import t from 'tap'
import { mountTarget } from './mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'
import { suite } from './suite.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t, true)
  const holes = 'with writeback caching every file is data from end to end'
  for (const { name, differences, ...options } of [
    { name: 'writeback on', writeback: true, differences: { holes } },
    { name: 'writeback off', writeback: false, differences: {} },
    {
      name: 'opens not announced',
      noOpen: true,
      differences: { holes, 'inode-flags': 'nobody there may set them (MountSpec.noOpen)' },
    },
  ]) {
    const target = mountTarget(scratch, `mount, no passthrough, ${name}`, {
      passthrough: false,
      differences,
      ...options,
    })
    try {
      await suite(t, target)
    } finally {
      target.close()
    }
  }
}
