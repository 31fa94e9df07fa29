/**
 * Owns a container run in the foreground without a terminal: this process supervises it, passes stdio through and
 * forwards signals. Killing this process ends the container.
 */
import { emit } from './events.js'
import type { Containers, Container } from './containers.js'
import { serveSocket, type ServedSocket } from './socket.js'
import { Supervisor } from './supervisor.js'
import { warning } from './warning.js'

export interface ForegroundStreams {
  stdin: NodeJS.ReadableStream | undefined
  stdout: { write(chunk: Uint8Array): boolean }
  stderr: { write(chunk: Uint8Array): boolean }
}

/** Signals that are the container's business. SIGCHLD, SIGURG and those that cannot be caught stay here. */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'] as const

/** Starts the container and returns its exit code. `signals`: forward them (--sig-proxy). */
export async function runInForeground(
  containers: Containers,
  container: Container,
  streams: ForegroundStreams,
  signals: boolean,
  log: (line: string) => void,
): Promise<number> {
  const supervisor = new Supervisor(containers, container, {
    log,
    warn: line => void streams.stderr.write(Buffer.from(warning(line))),
  })
  supervisor.listen({
    output: (stream, chunk) => void (stream === 'stdout' ? streams.stdout : streams.stderr).write(chunk),
    ended: () => undefined,
  })
  const stop = signals ? forwardSignals(supervisor) : (): void => undefined
  let socket: ServedSocket | undefined
  try {
    await supervisor.start()
    socket = serveSocket(supervisor)
    emit(containers.root, container, 'start')
    if (streams.stdin !== undefined) pumpStdin(streams.stdin, supervisor)
    const exitCode = await supervisor.supervise()
    emit(containers.root, container, 'die', { exitCode: String(exitCode) })
    return exitCode
  } finally {
    stop()
    await socket?.close()
    if (streams.stdin !== undefined) {
      streams.stdin.pause()
      ;(streams.stdin as { unref?: () => void }).unref?.()
    }
  }
}

function pumpStdin(stdin: NodeJS.ReadableStream, supervisor: Supervisor): void {
  stdin.on('data', (chunk: Buffer | string) => {
    if (supervisor.write(Buffer.from(chunk as Buffer))) return
    stdin.pause()
    supervisor.onDrain(() => stdin.resume())
  })
  stdin.on('end', () => supervisor.endStdin())
  stdin.on('error', () => supervisor.endStdin())
}

/** The third Ctrl-C kills: a program that is pid 1 and has no handler never sees the first two. */
function forwardSignals(supervisor: Supervisor): () => void {
  let interrupts = 0
  const handlers = forwarded.map(name => {
    const handler = (_: NodeJS.Signals, number: number): void => {
      if ((name === 'SIGINT' || name === 'SIGTERM') && ++interrupts >= 3) supervisor.signal(9)
      else supervisor.signal(number)
    }
    process.on(name, handler)
    return [name, handler] as const
  })
  return () => handlers.forEach(([name, handler]) => process.off(name, handler))
}
