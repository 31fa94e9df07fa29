/** Owns `--all-tags`: what goes wrong with one tag is said, and the others are done all the same. */
import type { Output } from './command.js'
import { failureLine } from './failure.js'

/** The exit code: 1 when any of `names` failed. */
export async function eachTag(
  verb: string,
  names: readonly string[],
  stderr: Output,
  work: (name: string) => Promise<void>,
): Promise<number> {
  let code = 0
  for (const name of names)
    try {
      await work(name)
    } catch (error) {
      code = 1
      stderr.write(`${failureLine(error, verb)}\n`)
    }
  return code
}
