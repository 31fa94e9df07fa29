/** pjdfstest on a directory lower without passthrough. */
import { pjdfstest } from './pjdfstest.js'

await pjdfstest('a directory lower without passthrough', { passthrough: false })
