/** Owns where this user's containers and build steps have their cgroups. */
import { isRootless } from '../rootless.js'
import { Cgroup } from './cgroup.js'

/** The cgroup for `path`, not made yet. An ordinary user's is where one was delegated to him; else it is none at all. */
export async function ownCgroup(path: string): Promise<Cgroup> {
  if (!isRootless()) return new Cgroup(path)
  const [{ delegated }, { hierarchies }] = await Promise.all([import('./delegation.js'), import('./hierarchy.js')])
  const { base, hierarchies: mine } = delegated(hierarchies())
  return new Cgroup(base === '' ? '' : `${base}${path}`, mine)
}
