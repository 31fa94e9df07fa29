/** Every change of the union, with the process ending at each of its steps. */
import { runFaults } from './run.js'

await runFaults([['the process ends', { kind: 'end' }]])
