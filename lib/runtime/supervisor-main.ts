/**
 * Owns the process that supervises one container in the background: started by background.ts with its id, it outlives
 * the command line. It reports on fd 3 (one JSON line: started, or why not), then runs until the container's end.
 * Invariant: it holds no terminal, no directory but `/`, and nothing of the process that started it.
 */
import { writeSync, closeSync } from 'node:fs'
import { cloexecFrom } from '../sys/file.js'
import { Containers } from './containers.js'
import { emit } from './events.js'
import { settle } from './settle.js'
import { serveSocket, type ServedSocket } from './socket.js'
import { Supervisor } from './supervisor.js'

const REPORT = 3

const [root = '', runRoot = '', id = '', size = ''] = process.argv.slice(2)
cloexecFrom(3)
process.chdir('/')
// The container ends by `stop`; a hangup of the terminal it was started from is none of its business.
for (const name of ['SIGHUP', 'SIGINT', 'SIGQUIT'] as const) process.on(name, () => undefined)

let reported = false

/** The first report counts. Who wanted it may be gone: the container lives on without. */
function report(value: unknown): void {
  if (reported) return
  reported = true
  try {
    writeSync(REPORT, `${JSON.stringify(value)}\n`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error
  }
  closeSync(REPORT)
}

async function main(): Promise<void> {
  const containers = new Containers(root, runRoot)
  const container = containers.load(id)
  if (container === undefined) {
    report({ code: 'NO_SUCH_CONTAINER', message: `no such container: ${id}` })
    return
  }
  const warnings: string[] = []
  const [rows, columns] = size.split('x').map(Number)
  const supervisor = new Supervisor(containers, container, {
    size: rows && columns ? { rows, columns } : undefined,
    log: line => process.stderr.write(`${line}\n`),
    warn: line => void warnings.push(line),
  })
  process.on('SIGTERM', () => void supervisor.stop(9, 0))
  let socket: ServedSocket | undefined
  try {
    // Before it listens: the socket of who has the container already would be lost.
    await supervisor.claim()
    const served = (socket = serveSocket(supervisor))
    await supervisor.start(() => waitForClient(served))
    report({ pid: supervisor.pid, warnings })
    emit(containers.root, container, 'start')
    const exitCode = await supervisor.supervise()
    emit(containers.root, container, 'die', { exitCode: String(exitCode) })
  } catch (error) {
    // After the first report a restart failed: the state says why.
    const { code, message } = error as { code?: string; message?: string }
    report({ code: code ?? 'START_FAILED', message: message ?? String(error) })
  }
  await socket?.close()
  await settle(containers, container)
}

/** Holds the program back until the attached client is there, so that it sees the first byte. Not for ever. */
function waitForClient(socket: { attached: Promise<void> }): Promise<void> {
  if (process.env['LAMINA_ATTACH'] !== '1') return Promise.resolve()
  return Promise.race([socket.attached, new Promise<void>(resolve => setTimeout(resolve, 30_000).unref())])
}

void main()
