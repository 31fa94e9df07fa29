/** Real programs on the mount leave the same as on the host's filesystem. */
import { runWorkloads } from './on-mount.js'
import { workloads } from './workloads.js'

await runWorkloads('passthrough', {}, workloads)
