/** PostgreSQL and npm on the mount leave the same as on the disk's filesystem. */
import { longWorkloads } from './long-workloads.js'
import { onDisk, runWorkloads } from './on-mount.js'

await runWorkloads('large', {}, longWorkloads, onDisk)
