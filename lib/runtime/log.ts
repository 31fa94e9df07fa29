/**
 * Owns a container's log: JSON lines `{"log","stream","time"}` (the form of Docker's json-file), in `log`, with older
 * parts in `log.1`, `log.2` … once a size is set. Invariant: a line of the output is one record, partial ones beyond
 * 16 KiB or at the end excepted; stdout and stderr never mix within a record.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeSync,
} from 'node:fs'
import { StringDecoder } from 'node:string_decoder'

export type Stream = 'stdout' | 'stderr'

export interface LogRecord {
  log: string
  stream: Stream
  /** ISO 8601 with nanoseconds' digits. */
  time: string
}

const LONGEST = 16 * 1024

export class LogWriter {
  readonly #path: string
  readonly #maxSize: number
  readonly #maxFiles: number
  #fd: number
  #size: number
  readonly #partial: Record<Stream, { text: string; decoder: StringDecoder }> = {
    stdout: { text: '', decoder: new StringDecoder('utf8') },
    stderr: { text: '', decoder: new StringDecoder('utf8') },
  }

  /** `maxSize` 0: no rotation. */
  constructor(path: string, maxSize: number, maxFiles: number) {
    this.#path = path
    this.#maxSize = maxSize
    this.#maxFiles = Math.max(1, maxFiles)
    this.#fd = openSync(path, 'a', 0o600)
    this.#size = fstatSync(this.#fd).size
  }

  write(stream: Stream, chunk: Buffer): void {
    const partial = this.#partial[stream]
    const text = partial.text + partial.decoder.write(chunk)
    let at = 0
    let out = ''
    for (;;) {
      const end = text.indexOf('\n', at)
      const stop = end >= 0 && end + 1 - at <= LONGEST ? end + 1 : text.length - at >= LONGEST ? at + LONGEST : -1
      if (stop < 0) break
      out += this.#record(stream, text.slice(at, stop))
      at = stop
      // One write for many lines, unless the file would then be too large: records go to the next one whole.
      if (this.#maxSize > 0 && this.#size + out.length > this.#maxSize) {
        this.#append(out)
        out = ''
      }
    }
    partial.text = text.slice(at)
    this.#append(out)
  }

  #record(stream: Stream, log: string): string {
    return `${JSON.stringify({ log, stream, time: new Date().toISOString() })}\n`
  }

  #append(text: string): void {
    if (text === '') return
    const bytes = Buffer.from(text)
    if (this.#maxSize > 0 && this.#size > 0 && this.#size + bytes.length > this.#maxSize) this.#rotate()
    writeSync(this.#fd, bytes)
    this.#size += bytes.length
  }

  #rotate(): void {
    closeSync(this.#fd)
    for (let n = this.#maxFiles - 1; n >= 1; n--) {
      const from = n === 1 ? this.#path : `${this.#path}.${n - 1}`
      if (existsSync(from)) renameSync(from, `${this.#path}.${n}`)
    }
    if (this.#maxFiles === 1) rmSync(this.#path, { force: true })
    this.#fd = openSync(this.#path, 'a', 0o600)
    this.#size = 0
  }

  close(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const { text, decoder } = this.#partial[stream]
      const rest = text + decoder.end()
      if (rest !== '') this.#append(this.#record(stream, rest))
    }
    closeSync(this.#fd)
  }
}

export interface LogOptions {
  /** Only records at or after, before: milliseconds since the epoch. */
  since?: number
  until?: number
  /** Only the last N. */
  tail?: number
  /** Goes on until `ended` says that nothing more comes. */
  follow?: boolean
  ended?: () => boolean
}

/** Gives every record of the log in `path` that the options ask for, oldest first. */
export async function readLog(path: string, options: LogOptions, each: (record: LogRecord) => void): Promise<void> {
  const { since = 0, until = Infinity, tail } = options
  const wanted = (r: LogRecord): boolean => {
    const time = Date.parse(r.time)
    return time >= since && time <= until
  }
  const files: string[] = []
  for (let n = 1; existsSync(`${path}.${n}`); n++) files.unshift(`${path}.${n}`)
  let kept: LogRecord[] = []
  const take = (record: LogRecord): void => {
    if (!wanted(record)) return
    if (tail === undefined) each(record)
    else {
      kept.push(record)
      if (kept.length > 2 * tail + 1024) kept = kept.slice(-tail)
    }
  }
  for (const file of files) new Follower(file).drain(take)
  const current = new Follower(path)
  current.drain(take)
  if (tail !== undefined && tail > 0) kept.slice(-tail).forEach(each)
  if (options.follow === true) await follow(current, path, options, r => wanted(r) && each(r))
  current.close()
}

/** Reads records from where it last stopped. */
class Follower {
  #fd = -1
  #path: string
  #at = 0
  #rest = Buffer.alloc(0)

  constructor(path: string) {
    this.#path = path
    this.#open()
  }

  #open(): void {
    try {
      this.#fd = openSync(this.#path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }

  drain(each: (record: LogRecord) => void): void {
    if (this.#fd < 0) this.#open()
    if (this.#fd < 0) return
    const chunk = Buffer.alloc(64 * 1024)
    for (;;) {
      const n = readSync(this.#fd, chunk, 0, chunk.length, this.#at)
      if (n === 0) return
      this.#at += n
      const data = Buffer.concat([this.#rest, chunk.subarray(0, n)])
      let from = 0
      for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, from)) {
        const record = parse(data.toString('utf8', from, end))
        if (record !== undefined) each(record)
        from = end + 1
      }
      this.#rest = data.subarray(from)
    }
  }

  /** Whether the name now leads to another file: the log was rotated. */
  rotated(): boolean {
    if (this.#fd < 0) return false
    const now = statSync(this.#path, { throwIfNoEntry: false })
    return now !== undefined && now.ino !== fstatSync(this.#fd).ino
  }

  again(): void {
    this.close()
    this.#at = 0
    this.#rest = Buffer.alloc(0)
    this.#open()
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }
}

/** A line that is no record (cut by a power loss) is skipped. */
function parse(line: string): LogRecord | undefined {
  try {
    return JSON.parse(line) as LogRecord
  } catch {
    return undefined
  }
}

async function follow(
  current: Follower,
  path: string,
  options: LogOptions,
  each: (r: LogRecord) => void,
): Promise<void> {
  const ended = options.ended ?? ((): boolean => false)
  let wake: () => void = () => undefined
  const watcher = existsSync(path) ? watch(path, () => wake()) : undefined
  try {
    for (;;) {
      const last = ended()
      if (current.rotated()) {
        current.drain(each)
        current.again()
      }
      current.drain(each)
      if (last) return
      await new Promise<void>(resolve => {
        // inotify is the rule; the timer sees rotation and the container's end.
        const timer = setTimeout(resolve, 200)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  } finally {
    watcher?.close()
  }
}
