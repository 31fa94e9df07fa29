/** Owns starting measured processes and taking their answers. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Options, Outcome, WorkName } from './client.js'

export interface Client {
  /** Lets it work; its answer. Throws when it fails. */
  readonly go: () => Promise<Outcome>
  /** Ends it without having worked. */
  readonly stop: () => void
}

/** A client that has started and waits. */
export async function startClient(work: WorkName, options: Options): Promise<Client> {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('./client.js', import.meta.url)), work, JSON.stringify(options)],
    { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' },
  )
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const first = await lines.next()
  if (first.done === true || first.value !== 'ready') throw new Error(`bench client ${work}: did not start`)
  return {
    stop: () => child.kill(),
    go: async () => {
      child.stdin.write('go\n')
      const answer = await lines.next()
      child.stdin.end()
      await exited
      if (answer.done === true) throw new Error(`bench client ${work}: failed`)
      return JSON.parse(answer.value) as Outcome
    },
  }
}

/** Starts a client and lets it work at once. */
export async function runClient(work: WorkName, options: Options): Promise<Outcome> {
  return (await startClient(work, options)).go()
}
