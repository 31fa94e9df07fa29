/** Owns `run` of a container that has a supervisor of its own: in the background, or with this terminal attached. */
import type { Container, Containers } from '../runtime/containers.js'
import type { Context } from './command.js'

export interface ApartOptions {
  detach?: boolean | undefined
  detachKeys?: string | undefined
  sigProxy?: boolean | undefined
}

/** stdin is undefined where it is not attached. */
export type AttachedStreams = Pick<Context, 'stdout' | 'stderr'> & { stdin: Context['stdin'] | undefined }

/** Starts it and returns the exit code: the container's when it was attached to its end, else 0. */
export async function runApart(
  containers: Containers,
  container: Container,
  options: ApartOptions,
  { stdin, stdout, stderr }: AttachedStreams,
): Promise<number> {
  const { startInBackground } = await import('../runtime/background.js')
  if (options.detach === true) {
    await startInBackground(containers, container).started
    stdout.write(`${container.id}\n`)
    return 0
  }
  const { config } = container
  const { attach, dial, parseDetachKeys } = await import('../runtime/attach.js')
  const keys = parseDetachKeys(options.detachKeys ?? 'ctrl-p,ctrl-q')
  const terminal = stdout as NodeJS.WriteStream
  const size = terminal.isTTY && config.tty ? { rows: terminal.rows, columns: terminal.columns } : undefined
  const { started } = startInBackground(containers, container, { attach: true, size })
  const socket = await Promise.race([dial(container), started.then(() => dial(container))])
  const ended = attach(socket, container, {
    stdin: config.interactive ? stdin : undefined,
    stdout,
    stderr,
    tty: config.tty,
    detachKeys: keys,
    signals: options.sigProxy !== false,
  })
  // A start that fails says why; an attachment that breaks with it has nothing to add.
  const result = await Promise.race([ended, started.then(() => ended)])
  return result === 'detached' ? 0 : result.exitCode
}
