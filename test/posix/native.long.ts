/** The suite on the fuse-native transport, its known gaps left out by name. */
import t from 'tap'
import { mountTarget } from './mount-target.js'
import { nativeGaps } from './native-gaps.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'
import { cases, suite } from './suite.js'

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t)
  const titles = new Set(cases.flatMap(c => [c.title, c.difference]))
  t.same(
    Object.keys(nativeGaps).filter(title => !titles.has(title)),
    [],
    'every gap is a case of the suite',
  )
  const target = mountTarget(scratch, 'fuse-native', { transport: 'fuse-native', differences: nativeGaps })
  try {
    await suite(t, target)
  } finally {
    target.close()
  }
}
