/**
 * Owns starting a server that outlives the command: another process, in its own session, with `/` as its directory and a
 * log file as its standard error. It gets its orders as one line of JSON on fd 3 and answers there with one: the record
 * of the mount when it answers, or the exact failure. server-process.ts is the other side.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { residentEnvironment, residentFlags } from '../resident.js'
import { failureFrom, MountError, type FailureData } from './failure.js'
import { reserve, type MountRecord } from './registry.js'
import type { ServeRequest } from './serve.js'

export type ServerAnswer = { readonly record: MountRecord } | { readonly failure: FailureData }

/** Mounts, served by a process of its own. Resolves when the mount answers. Throws MountError. */
export async function launchServer(request: Omit<ServeRequest, 'log' | 'id'>): Promise<MountRecord> {
  const { id, log } = reserve(request.runRoot)
  const logFd = openSync(log, 'a', 0o644)
  let answer: ServerAnswer | undefined
  let status: unknown
  try {
    const child = spawn(
      process.execPath,
      [...residentFlags, fileURLToPath(new URL('./server-process.cjs', import.meta.url))],
      {
        detached: true,
        cwd: '/',
        env: residentEnvironment(),
        stdio: ['ignore', logFd, logFd, 'pipe'],
      },
    )
    const ended = once(child, 'exit')
    const channel = child.stdio[3] as Duplex
    channel.write(`${JSON.stringify({ ...request, id, log } satisfies ServeRequest)}\n`)
    let text = ''
    for await (const chunk of channel) {
      text += String(chunk)
      if (text.endsWith('\n')) break
    }
    if (text.endsWith('\n')) answer = JSON.parse(text) as ServerAnswer
    channel.destroy()
    // A server that failed is waited for: it holds the layers open until its end.
    if (answer === undefined || 'failure' in answer) status = (await ended).find(each => each !== null)
    child.unref()
  } finally {
    closeSync(logFd)
  }
  if (answer !== undefined && 'record' in answer) return answer.record
  const said = answer === undefined ? lastLine(log) : ''
  rmSync(log, { force: true })
  if (answer !== undefined) throw failureFrom(answer.failure)
  throw new MountError('SERVER_FAILED', `mount ${request.mountpoint}: the server ended (${String(status)})${said}`)
}

function lastLine(log: string): string {
  const lines = readFileSync(log, 'utf8').trim().split('\n')
  const last = lines.findLast(line => /\S/.test(line) && !/^\s*at |^Node\.js/.test(line))
  return last === undefined ? '' : `: ${last}`
}
