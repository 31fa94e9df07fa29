/**
 * The suite inside a user namespace (user-namespace.ts) on a mount, which has no passthrough there; with a second argument on a
 * plain directory: what is left out must be what the kernel refuses there too. `rootless-suite.js KIND [host | indexed]`; on the
 * lowers of an image (`indexed`) the kernel does not tell of opens.
 */
import t from 'tap'
import { hostTarget } from './host-target.js'
import { mountTarget } from './mount-target.js'
import { rootlessGaps } from './rootless-gaps.js'
import { namespaceScratch } from './scratch.js'
import { suite } from './suite.js'
import type { IdKind } from './user-namespace.js'

const [kind, where] = process.argv.slice(2) as [IdKind, string?]
t.setTimeout(3_500_000)
const scratch = namespaceScratch(t)
const differences = rootlessGaps(kind)
const target =
  where !== 'host'
    ? mountTarget(
        scratch,
        `mount, ${kind === 'single' ? 'one id' : 'a range of ids'}${where === undefined ? '' : ', an image'}`,
        {
          encoding: 'user',
          indexed: where === 'indexed',
          differences: { ...differences, holes: 'with writeback caching every file is data from end to end' },
        },
      )
    : hostTarget(scratch, differences)
try {
  await suite(t, target)
} finally {
  target.close()
}
