/** The suite on a mount made by root of a user namespace with a range of ids: no passthrough, `user.` marks. */
import t from 'tap'
import { missingForMounts } from './scratch.js'
import { inUserNamespace, missingForNamespaces } from './user-namespaces.js'

const missing = missingForMounts() ?? missingForNamespaces()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(170_000)
  await inUserNamespace(t, 'range', 'rootless-suite.js')
}
