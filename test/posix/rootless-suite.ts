/**
 * The suite inside a user namespace (user-namespace.ts): on a plain directory, so that what is left out is left out because
 * the kernel refuses it there, and on a mount without passthrough. `rootless-suite.js KIND`.
 */
import t from 'tap'
import { hostTarget } from './host-target.js'
import { mountTarget } from './mount-target.js'
import { rootlessGaps } from './rootless-gaps.js'
import { namespaceScratch } from './scratch.js'
import { suite } from './suite.js'
import type { IdKind } from './user-namespace.js'

const kind = process.argv[2] as IdKind
t.setTimeout(900_000)
const scratch = namespaceScratch(t)
const differences = rootlessGaps(kind)
const host = hostTarget(scratch, differences)
await suite(t, host)
host.close()
const mount = mountTarget(scratch, `mount, ${kind === 'single' ? 'one id' : 'a range of ids'}`, {
  encoding: 'user',
  differences,
})
try {
  await suite(t, mount)
} finally {
  mount.close()
}
