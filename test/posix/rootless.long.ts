/** The suite in user namespaces: with one id on a mount, and with either kind of ids on a plain directory, as the oracle. */
import t from 'tap'
import { missingForMounts } from './scratch.js'
import { inUserNamespace, missingForNamespaces } from './user-namespaces.js'

const missing = missingForMounts() ?? missingForNamespaces()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(1_700_000)
  await inUserNamespace(t, 'single', 'rootless-suite.js')
  for (const kind of ['single', 'range'] as const) await inUserNamespace(t, kind, 'rootless-suite.js', 'host')
}
