/** Real programs on a mount without passthrough: the kernel caches reads and writes, the server does the rest. */
import { longWorkloads } from './long-workloads.js'
import { onDisk, runWorkloads } from './on-mount.js'
import { workloads } from './workloads.js'

await runWorkloads('no passthrough', { passthrough: false }, [...workloads, ...longWorkloads], onDisk)
