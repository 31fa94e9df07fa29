/**
 * Owns the ends of a container's stdio that the supervisor holds: real pipes given to the container's user (so that
 * opening /dev/stdout works), or the master of a terminal in its devpts.
 * Invariant: the container's ends are closed here as soon as it has them; output is read to its end before `ended`.
 */
import { closeSync, fchownSync } from 'node:fs'
import { Socket } from 'node:net'
import { ReadStream } from 'node:tty'
import { FsError } from '../errno.js'
import { pipe } from '../sys/process.js'
import { chownPty, openPty, setWindowSize } from '../sys/terminal.js'
import type { Stream } from './log.js'

export interface Stdio {
  /** For the child: stdin, stdout, stderr. */
  readonly child: readonly [number, number, number]
  /** N of the terminal's /dev/pts/N. */
  readonly ptsNumber: number | undefined
  closeChild(): void
  /** Starts reading. */
  listen(each: (stream: Stream, chunk: Buffer) => void): void
  /** False: wait for `onDrain` before more. */
  write(chunk: Buffer): boolean
  onDrain(ready: () => void): void
  endStdin(): void
  resize(rows: number, columns: number): void
  /** Resolved when all output has been read. */
  readonly ended: Promise<void>
  /** Bytes of output read so far. */
  received(): number
  close(): void
}

/** Pipes for a process of user `uid`. Without `stdin` it reads an end of file. */
export function openPipes(uid: number, gid: number, stdin: boolean): Stdio {
  const [input, output, error] = [pipe(), pipe(), pipe()]
  for (const fd of [input.read, output.write, error.write]) if (uid !== 0 || gid !== 0) fchownSync(fd, uid, gid)
  const child = [input.read, output.write, error.write] as const
  const writer = new Socket({ fd: input.write, readable: false, writable: true })
  writer.on('error', () => writer.destroy())
  if (!stdin) writer.destroy()
  const readers = [output.read, error.read].map(fd => new Socket({ fd, readable: true, writable: false }))
  const ended = Promise.all(
    readers.map(
      reader =>
        new Promise<void>(resolve => {
          reader.on('error', () => reader.destroy())
          reader.on('close', () => resolve())
        }),
    ),
  ).then(() => undefined)
  return {
    child,
    ptsNumber: undefined,
    closeChild: () => child.forEach(closeSync),
    listen: each => {
      readers.forEach((reader, i) => reader.on('data', (chunk: Buffer) => each(i === 0 ? 'stdout' : 'stderr', chunk)))
    },
    write: chunk => writer.destroyed || writer.write(chunk),
    onDrain: ready => void writer.once('drain', ready),
    endStdin: () => void writer.end(),
    resize: () => undefined,
    ended,
    received: () => readers.reduce((sum, reader) => sum + reader.bytesRead, 0),
    close: () => [writer, ...readers].forEach(s => s.destroy()),
  }
}

/** A terminal in the container's devpts. */
export function openTerminal(devpts: number, uid: number, size?: { rows: number; columns: number }): Stdio {
  const pty = openPty(devpts)
  if (typeof pty === 'number') throw new FsError(pty, 'open', '/dev/pts/ptmx')
  const { master, slave, number } = pty
  chownPty(slave, uid, 5)
  const closeChild = (): void => closeSync(slave)
  return { ...ofTerminal(master, size), child: [slave, slave, slave], ptsNumber: number, closeChild }
}

/** The streams of a terminal's master side; the child's side is somebody else's. */
export function ofTerminal(master: number, size?: { rows: number; columns: number }): Stdio {
  if (size !== undefined) setWindowSize(master, size.rows, size.columns)
  const stream = new ReadStream(master)
  let queued = 0
  let drained: () => void = () => undefined
  const ended = new Promise<void>(resolve => {
    // EIO says that the last process has closed the other side.
    stream.on('error', () => stream.destroy())
    stream.on('close', () => resolve())
  })
  const write = (chunk: Buffer): boolean => {
    if (stream.destroyed) return true
    queued += chunk.length
    ;(stream as unknown as Socket).write(chunk, () => {
      queued -= chunk.length
      if (queued === 0) drained()
    })
    return queued < 64 * 1024
  }
  return {
    child: [-1, -1, -1],
    ptsNumber: undefined,
    closeChild: () => undefined,
    listen: each => void stream.on('data', (chunk: Buffer) => each('stdout', chunk)),
    write,
    onDrain: ready => (drained = ready),
    // End of a terminal's input is a character (VEOF), here at the start of a line.
    endStdin: () => void write(Buffer.from([4])),
    resize: (rows, columns) => void setWindowSize(master, rows, columns),
    ended,
    received: () => stream.bytesRead,
    close: () => stream.destroy(),
  }
}
