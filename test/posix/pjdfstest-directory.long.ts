/** pjdfstest on a directory lower. */
import { pjdfstest } from './pjdfstest.js'

await pjdfstest('a directory lower', {})
