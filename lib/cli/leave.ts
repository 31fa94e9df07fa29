/** Owns the short way out for commands whose time people measure: no taking apart of a process that has nothing left to do. */
import type { Output } from './command.js'

/** Ends the process with `code` if all output is written; in a test, or with output pending, just returns the code. */
export async function leave(code: number, stdout: Output, stderr: Output): Promise<number> {
  if (stdout !== process.stdout || stderr !== process.stderr) return code
  if (process.stdout.writableLength > 0 || process.stderr.writableLength > 0) return code
  const { exitNow } = await import('../sys/process.js')
  return exitNow(code)
}
