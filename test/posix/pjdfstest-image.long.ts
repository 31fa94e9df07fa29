/** pjdfstest on an image lower. */
import { pjdfstest } from './pjdfstest.js'

await pjdfstest('an image lower', { indexed: true })
