/**
 * Real programs in user namespaces, where there is no passthrough: what the kernel holds back, appends, maps and locks comes to
 * the same as on a plain directory.
 */
import t from 'tap'
import { missingForMounts } from '../posix/scratch.js'
import { inUserNamespace, missingForNamespaces } from '../posix/user-namespaces.js'

const missing = missingForMounts() ?? missingForNamespaces()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  for (const kind of ['single', 'range'] as const) await inUserNamespace(t, kind, '../workloads/rootless-programs.js')
}
