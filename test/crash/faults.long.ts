/** Every change of the union, with an error from the disk at each of its steps. */
import { E } from '../../lib/errno.js'
import { runFaults } from './run.js'

await runFaults([
  ['the disk is full', { kind: 'error', errno: E.ENOSPC }],
  ['the quota is used up', { kind: 'error', errno: E.EDQUOT }],
  ['the disk fails', { kind: 'error', errno: E.EIO }],
])
