/** pjdfstest on an image without passthrough, whose opens the kernel does not announce. */
import { pjdfstest } from './pjdfstest.js'

await pjdfstest('an image, opens not announced', { passthrough: false, noOpen: true, indexed: true })
