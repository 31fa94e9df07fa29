/** `writeThroughClone` of a directory as a process, for a kernel that only processes can be shown. */
import { writeThroughClone } from './write-through-clone.js'

console.log(JSON.stringify(writeThroughClone(process.argv[2] ?? '')))
