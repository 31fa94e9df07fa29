/** The suite in user namespaces, with one id and with a range: on a mount, and on a plain directory as the oracle. */
import t from 'tap'
import { missingForMounts } from './scratch.js'
import { inUserNamespace, missingForNamespaces } from './user-namespaces.js'

const missing = missingForMounts() ?? missingForNamespaces()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  for (const kind of ['single', 'range'] as const) {
    await inUserNamespace(t, kind, 'rootless-suite.js')
    await inUserNamespace(t, kind, 'rootless-suite.js', 'indexed')
    await inUserNamespace(t, kind, 'rootless-suite.js', 'host')
  }
}
