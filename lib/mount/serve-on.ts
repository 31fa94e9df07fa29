/**
 * Owns serving a mount in the process of the command that asked for it, which from then on is the server: in its own session,
 * with `/` as its directory and a log file as its standard output and error. launch.ts has the other way, a process of its own.
 */
import { openSync, rmSync, writeSync } from 'node:fs'
import { newSession, redirect } from '../sys/process.js'
import type { MountRecord } from './registry.js'
import { reserve } from './registry.js'
import { serve, type ServeRequest } from './serve.js'

/**
 * Serves until the mount is gone, then ends the process. `ready` runs when the mount answers, with the command's own output
 * still there; `left` after it is gone. Throws MountError before that, and nothing is left of it.
 */
export async function serveOn(
  request: Omit<ServeRequest, 'log' | 'id'>,
  ready: (record: MountRecord) => void,
  left: () => void,
): Promise<never> {
  const { id, log } = reserve(request.runRoot)
  const fd = openSync(log, 'a', 0o644)
  const say = (message: string): void => void writeSync(fd, `${new Date().toISOString()} ${message}\n`)
  let answered = false as boolean
  process.chdir('/')
  newSession()
  try {
    await serve(
      { ...request, id, log },
      record => {
        answered = true
        ready(record)
        for (const output of [1, 2]) redirect(fd, output)
        process.title = 'lamina-serve'
        left()
      },
      say,
    )
  } catch (error) {
    if (!answered) {
      rmSync(log, { force: true })
      throw error
    }
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    process.exit(1)
  }
  // fuse-native leaves handles open that would keep the process alive.
  process.exit()
}
