/**
 * Owns the client's side of a container's socket: its own stdio joined with the container's, a terminal in raw mode,
 * window size, detach keys. Invariant: the terminal is as it was when this ends, however it ends.
 */
import { connect, type Socket } from 'node:net'
import { makeRaw } from '../sys/terminal.js'
import type { Container } from './containers.js'
import { RuntimeError } from './error.js'
import { Frame, frame, FrameReader } from './frames.js'
import { signalContainer } from './stop.js'
import { socketPath } from './socket.js'

export interface AttachOptions {
  stdin: NodeJS.ReadStream | undefined
  stdout: { write(chunk: Uint8Array): boolean; isTTY?: boolean; columns?: number; rows?: number }
  stderr: { write(chunk: Uint8Array): boolean }
  tty: boolean
  /** Bytes that leave it running; undefined: none. */
  detachKeys: Buffer | undefined
  /** Forward signals (not with a terminal, where its own line discipline does it). */
  signals: boolean
}

/** How an attachment ended: with the container (exit code), or by the detach keys. */
export type AttachResult = { exitCode: number } | 'detached'

/** Waits for the supervisor's socket, up to 30 s from its start. */
export async function dial({ runDirectory, config }: Container, patience = 30_000): Promise<Socket> {
  const end = Date.now() + patience
  for (;;) {
    const socket = await new Promise<Socket | undefined>(resolve => {
      const s = connect(socketPath(runDirectory))
      s.on('connect', () => resolve(s))
      s.on('error', () => resolve(undefined))
    })
    if (socket !== undefined) return socket
    if (Date.now() > end) throw new RuntimeError('WRONG_STATE', `attach ${config.name}: it is not running`)
    await new Promise(resolve => setTimeout(resolve, 3))
  }
}

export async function attach(socket: Socket, container: Container, options: AttachOptions): Promise<AttachResult> {
  const { stdin, stdout, stderr, tty } = options
  const undo: (() => void)[] = []
  try {
    return await new Promise<AttachResult>((resolve, reject) => {
      const reader = new FrameReader()
      socket.on('data', data => {
        reader.push(data, (type, payload) => {
          if (type === Frame.Stdout || type === Frame.Stderr) {
            const out = type === Frame.Stdout ? stdout : stderr
            if (!out.write(Buffer.from(payload)) && 'once' in out) {
              socket.pause()
              ;(out as unknown as NodeJS.WriteStream).once('drain', () => socket.resume())
            }
          } else if (type === Frame.Exit) resolve(JSON.parse(payload.toString('utf8')) as { exitCode: number })
        })
      })
      socket.on('error', reject)
      socket.on('close', () =>
        reject(new RuntimeError('WRONG_STATE', `attach ${container.config.name}: its supervisor is gone`)),
      )
      socket.write(frame(Frame.Hello, JSON.stringify({ want: 'attach', stdin: stdin !== undefined })))
      if (tty && stdout.isTTY === true) {
        const resize = (): void => {
          const payload = Buffer.alloc(4)
          payload.writeUInt16BE(stdout.rows ?? 24, 0)
          payload.writeUInt16BE(stdout.columns ?? 80, 2)
          socket.write(frame(Frame.Resize, payload))
        }
        resize()
        process.on('SIGWINCH', resize)
        undo.push(() => process.off('SIGWINCH', resize))
      }
      if (stdin !== undefined) undo.push(pump(stdin, socket, options, () => resolve('detached')))
      if (options.signals && !tty) undo.push(forward(container))
    })
  } finally {
    for (const step of undo) step()
    socket.destroy()
  }
}

function pump(
  stdin: NodeJS.ReadStream,
  socket: Socket,
  { tty, detachKeys }: AttachOptions,
  detached: () => void,
): () => void {
  const raw = tty && stdin.isTTY
  const cooked = raw ? makeRaw(0) : undefined
  const keys = new KeySequence(raw ? detachKeys : undefined)
  const onData = (chunk: Buffer | string): void => {
    const pass = keys.take(Buffer.from(chunk as Buffer))
    if (pass === 'detach') {
      detached()
      return
    }
    if (pass.length > 0 && !socket.write(frame(Frame.Stdin, pass))) {
      stdin.pause()
      socket.once('drain', () => stdin.resume())
    }
  }
  const onEnd = (): void => void socket.write(frame(Frame.StdinEnd))
  const restore = (): void => {
    if (typeof cooked === 'function') cooked()
  }
  stdin.on('data', onData)
  stdin.on('end', onEnd)
  process.on('exit', restore)
  return () => {
    stdin.off('data', onData)
    stdin.off('end', onEnd)
    process.off('exit', restore)
    restore()
    stdin.pause()
    ;(stdin as unknown as { unref?: () => void }).unref?.()
  }
}

const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const

function forward(container: Container): () => void {
  const handlers = forwarded.map(name => {
    const handler = (_: NodeJS.Signals, number: number): void => {
      // It may end at this moment: the Exit frame is on its way then.
      signalContainer(container, number).catch(() => undefined)
    }
    process.on(name, handler)
    return [name, handler] as const
  })
  return () => handlers.forEach(([name, handler]) => process.off(name, handler))
}

/** Finds a sequence of keys in what is typed, holding back what may be its beginning. */
export class KeySequence {
  readonly #keys: Buffer | undefined
  #held = 0

  constructor(keys: Buffer | undefined) {
    this.#keys = keys !== undefined && keys.length > 0 ? keys : undefined
  }

  /** What is to be passed on, or 'detach' when the sequence is complete. */
  take(chunk: Buffer): Buffer | 'detach' {
    const keys = this.#keys
    if (keys === undefined) return chunk
    const out: number[] = []
    for (const byte of chunk) {
      if (byte === keys[this.#held]) {
        this.#held++
        if (this.#held === keys.length) return 'detach'
        continue
      }
      out.push(...keys.subarray(0, this.#held))
      this.#held = byte === keys[0] ? 1 : 0
      if (this.#held === 0) out.push(byte)
    }
    return Buffer.from(out)
  }
}

/** `ctrl-p,ctrl-q`, `a,b`, `ctrl-\\` → bytes. Throws INVALID. '' means none. */
export function parseDetachKeys(text: string): Buffer | undefined {
  if (text === '') return undefined
  return Buffer.from(
    text.split(',').map(key => {
      const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key)
      if (control !== null) return (control[1] as string).toUpperCase().charCodeAt(0) & 0x1f
      if (key.length === 1) return key.charCodeAt(0)
      throw new RuntimeError('INVALID', `--detach-keys ${text}: '${key}' is neither a character nor ctrl-LETTER`)
    }),
  )
}
