/** Runs `lamina` in this process, as the tests of commands want it. */
import { main } from '../../lib/cli/main.js'

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export async function lamina(...argv: readonly string[]): Promise<Outcome> {
  let stdout = ''
  let stderr = ''
  const code = await main(argv, {
    stdin: process.stdin,
    stdout: { write: chunk => ((stdout += chunk.toString()), true) },
    stderr: { write: chunk => ((stderr += chunk.toString()), true) },
  })
  return { code, stdout, stderr }
}
