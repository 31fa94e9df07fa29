/** Owns joining this process's own stdio with a process that it started in a container. */
import { makeRaw } from '../sys/terminal.js'
import type { Executed } from './exec.js'

export interface JoinStreams {
  stdin: NodeJS.ReadStream | undefined
  stdout: { write(chunk: Uint8Array): boolean; isTTY?: boolean }
  stderr: { write(chunk: Uint8Array): boolean }
  tty: boolean
}

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const

/** Carries data and signals until the process ends. Returns its exit code. The terminal is restored. */
export async function joinTerminal(executed: Executed, { stdin, stdout, stderr, tty }: JoinStreams): Promise<number> {
  const { stdio } = executed
  const undo: (() => void)[] = []
  stdio.listen((stream, chunk) => void (stream === 'stdout' ? stdout : stderr).write(chunk))
  const raw = tty && stdin?.isTTY === true
  const cooked = raw ? makeRaw(0) : undefined
  if (typeof cooked === 'function') {
    process.on('exit', cooked)
    undo.push(cooked, () => process.off('exit', cooked))
  }
  if (tty && stdout.isTTY === true) {
    const resize = (): void => {
      const { rows, columns } = stdout as unknown as NodeJS.WriteStream
      stdio.resize(rows, columns)
    }
    process.on('SIGWINCH', resize)
    undo.push(() => process.off('SIGWINCH', resize))
  }
  for (const name of forwarded) {
    const handler = (_: NodeJS.Signals, number: number): void => executed.signal(number)
    process.on(name, handler)
    undo.push(() => process.off(name, handler))
  }
  if (stdin !== undefined) {
    const onData = (chunk: Buffer | string): void => {
      if (stdio.write(Buffer.from(chunk as Buffer))) return
      stdin.pause()
      stdio.onDrain(() => stdin.resume())
    }
    const onEnd = (): void => stdio.endStdin()
    stdin.on('data', onData)
    stdin.on('end', onEnd)
    undo.push(() => {
      stdin.off('data', onData)
      stdin.off('end', onEnd)
      stdin.pause()
      ;(stdin as unknown as { unref?: () => void }).unref?.()
    })
  }
  try {
    return (await executed.exit).code
  } finally {
    for (const step of undo) step()
    stdio.close()
  }
}
