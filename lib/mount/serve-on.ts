/**
 * Owns serving a mount in the process of the command that asked for it, which from then on is the server: in its own session,
 * with a log file as its output. launch.ts has the other way, a process of its own.
 */
import { openSync, rmSync } from 'node:fs'
import { newSession, redirect } from '../sys/process.js'
import { type MountRecord, reserve } from './registry.js'
import { logTo, serveToEnd, type ServeRequest } from './serve.js'

/**
 * `serveToEnd` in the command's own process. `ready` runs with the command's own output still there; `left` after it is gone.
 * Throws MountError before that, and nothing is left of it.
 */
export async function serveOn(
  request: Omit<ServeRequest, 'log' | 'id'>,
  ready: (record: MountRecord) => void,
  left: () => void,
): Promise<never> {
  const { id, log } = reserve(request.runRoot)
  const fd = openSync(log, 'a', 0o644)
  newSession()
  const answered = (record: MountRecord): void => {
    ready(record)
    for (const output of [1, 2]) redirect(fd, output)
    left()
  }
  try {
    return await serveToEnd({ ...request, id, log }, answered, logTo(fd))
  } catch (error) {
    rmSync(log, { force: true })
    throw error
  }
}
