/**
 * Changes of every kind of file on a mount made by root of a user namespace: no passthrough, `user.` marks. The whole suite
 * there is in rootless.long.ts.
 */
import t from 'tap'
import { missingForMounts } from './scratch.js'
import { inUserNamespace, missingForNamespaces } from './user-namespaces.js'

const missing = missingForMounts() ?? missingForNamespaces()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  process.env['POSIX_ONLY'] ??= 'kind'
  await inUserNamespace(t, 'range', 'rootless-suite.js')
}
