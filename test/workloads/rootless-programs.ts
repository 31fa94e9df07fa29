/** Real programs on a mount inside a user namespace (test/posix/user-namespace.ts): `rootless-programs.js KIND`. */
import { namespaceScratch } from '../posix/scratch.js'
import { runWorkloads } from './on-mount.js'
import { workloads } from './workloads.js'

// Device nodes and trusted attributes are not to be had there, nor apt's and dpkg's owners with one id.
const data = /^(git|sqlite|gcc|fsx|many processes)/
await runWorkloads(
  `user namespace, ${process.argv[2]}`,
  { encoding: 'user' },
  workloads.filter(w => data.test(w.title)),
  namespaceScratch,
)
