/** Owns limits per block device: `/dev/sda:1mb` → its numbers and a rate. */
import { statSync } from 'node:fs'
import { devOf } from '../sys/constants.js'
import { RuntimeError } from './error.js'
import { bytes } from './options.js'

/** `DEVICE:WEIGHT`, 10 to 1000. Throws INVALID. */
export function deviceWeights(
  option: string,
  list: readonly string[],
): { major: number; minor: number; weight: number }[] {
  return throttles(option, list, false).map(({ major, minor, rate: weight }) => {
    if (weight < 10 || weight > 1000)
      throw new RuntimeError('INVALID', `${option} ${weight}: is no weight from 10 to 1000`)
    return { major, minor, weight }
  })
}

/** `size`: the rate is a size in bytes per second, else a count. Throws INVALID. */
export function throttles(
  option: string,
  list: readonly string[],
  size: boolean,
): { major: number; minor: number; rate: number }[] {
  return list.map(text => {
    const at = text.lastIndexOf(':')
    const path = text.slice(0, at)
    const st = at < 1 ? undefined : statSync(path, { throwIfNoEntry: false })
    if (st === undefined || !st.isBlockDevice())
      throw new RuntimeError('INVALID', `${option} ${text}: is not DEVICE:RATE with a block device`)
    const word = text.slice(at + 1)
    if (!size && !/^\d+$/.test(word)) throw new RuntimeError('INVALID', `${option} ${text}: '${word}' is no number`)
    return { ...devOf(st.rdev), rate: size ? bytes(option, word) : Number(word) }
  })
}
