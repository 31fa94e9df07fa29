/** Real programs on a mount without passthrough: the kernel caches reads and writes, the server does the rest. */
import { runWorkloads } from './on-mount.js'

await runWorkloads('no passthrough', { passthrough: false })
