/**
 * Owns how a build is shown: `plain` lines, a live tree on a terminal (`tty`), or one JSON object per line (`json`).
 * Formats: plain is `#STEP …` with seconds since the step began; JSON is a BuildEvent, output as text (`data`), or as
 * `dataBase64` when it is no UTF-8.
 * Invariant: what a command printed is shown whole in plain and JSON; control characters never reach a terminal.
 */
import { isUtf8 } from 'node:buffer'
import { TextDecoder } from 'node:util'
import type { BuildEvent, StepName } from './event.js'

export interface Progress {
  event(event: BuildEvent): void
  /** After the last event: what stays on the screen. */
  end(): void
}

/** Something to write to; a terminal has `columns`. */
export interface Screen {
  write(text: string): unknown
  readonly columns?: number | undefined
  readonly rows?: number | undefined
}

export function jsonProgress(out: Screen): Progress {
  return {
    event: event => {
      if (event.type !== 'output') {
        out.write(`${JSON.stringify(event)}\n`)
        return
      }
      const { data, ...rest } = event
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
      const text = isUtf8(bytes) ? { data: bytes.toString('utf8') } : { dataBase64: bytes.toString('base64') }
      out.write(`${JSON.stringify({ ...rest, ...text })}\n`)
    },
    end: () => {},
  }
}

/** Escape sequences and other control characters taken out; tabs stay. */
export function plainText(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text
    .replace(/\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b./g, '')
    .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '')
}

/** A line that is longer is shown in pieces: a flood without line ends must not pile up. */
const LONGEST = 16 << 10

/** Complete lines of a step's output; what is left waits for its end. */
class Lines {
  readonly #partial = new Map<string, string>()
  readonly #decoders = new Map<string, TextDecoder>()

  push(step: number, stream: string, data: Uint8Array): string[] {
    const key = `${step} ${stream}`
    let decoder = this.#decoders.get(key)
    if (!decoder) this.#decoders.set(key, (decoder = new TextDecoder()))
    const lines = ((this.#partial.get(key) ?? '') + decoder.decode(data, { stream: true })).split(/\r?\n/)
    const rest = lines.pop()!
    const whole = rest.length - (rest.length % LONGEST)
    for (let at = 0; at < whole; at += LONGEST) lines.push(rest.slice(at, at + LONGEST))
    this.#partial.set(key, rest.slice(whole))
    // A progress bar rewrites its line: what it showed last counts.
    return lines.map(line => plainText(line.slice(line.lastIndexOf('\r') + 1)))
  }

  rest(step: number): string[] {
    return ['stdout', 'stderr'].flatMap(stream => {
      const key = `${step} ${stream}`
      const text = this.#partial.get(key) ?? ''
      this.#partial.delete(key)
      return text === '' ? [] : [plainText(text.slice(text.lastIndexOf('\r') + 1))]
    })
  }
}

function title(step: StepName): string {
  return `[${step.stage} ${step.position}/${step.of}] ${step.text}`
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)}s`
}

function differences(event: Extract<BuildEvent, { type: 'miss' }>): string[] {
  if (event.nearest === undefined) return ['not in the cache: no step like it was built before']
  const shown = event.differences.slice(0, 10).map(d => `  ${d.input}: ${short(d.was)} → ${short(d.is)}`)
  const more = event.differences.length - shown.length
  return [`not in the cache: unlike ${event.nearest}`, ...shown, ...(more > 0 ? [`  and ${more} more`] : [])]
}

function short(text: string): string {
  return plainText(text.length > 60 ? `${text.slice(0, 57)}...` : text)
}

export function plainProgress(out: Screen): Progress {
  const began = new Map<number, number>()
  const lines = new Lines()
  const say = (step: number, text: string): void => void out.write(`#${step} ${text}\n`)
  return {
    event: event => {
      switch (event.type) {
        case 'plan':
          if (event.skipped.length > 0) out.write(`skipped stages: ${event.skipped.join(', ')}\n`)
          return
        case 'start':
          began.set(event.step, event.time)
          say(event.step, plainText(title(event)))
          return
        case 'output': {
          const at = ((event.time - (began.get(event.step) ?? 0)) / 1000).toFixed(3)
          for (const line of lines.push(event.step, event.stream, event.data)) say(event.step, `${at} ${line}`)
          return
        }
        case 'miss':
          for (const line of differences(event)) say(event.step, line)
          return
        case 'done':
        case 'failed': {
          for (const line of lines.rest(event.step)) say(event.step, line)
          const took = seconds(event.time - (began.get(event.step) ?? 0))
          if (event.type === 'failed') say(event.step, `ERROR: ${plainText(event.message)}`)
          else if (!event.metadata) say(event.step, event.cached ? 'CACHED' : `DONE ${took}`)
          return
        }
        case 'warning':
          out.write(`warning: ${plainText(event.message)}${event.line === undefined ? '' : ` (line ${event.line})`}\n`)
      }
    },
    end: () => {},
  }
}

interface Shown {
  readonly name: StepName
  readonly began: number
  ended: number | undefined
  state: 'running' | 'done' | 'cached' | 'failed'
  readonly tail: string[]
  readonly notes: string[]
}

/** Lines of output shown below a running step. */
const TAIL = 6
const FRAME = 100

/** Steps by stage with their times, the last lines of what runs; redrawn in place, finished lines scroll away. */
export function ttyProgress(out: Screen, clock: () => number = () => performance.now()): Progress {
  const steps = new Map<number, Shown>()
  const lines = new Lines()
  const began = clock()
  const written = new Set<number>()
  const warnings: string[] = []
  let drawn = 0
  let timer: NodeJS.Timeout | undefined

  /** For lines that stand two blanks in: one that wraps would spoil the redrawing. */
  const fit = (text: string): string => {
    const width = Math.max(20, (out.columns ?? 80) - 3)
    return text.length > width ? `${text.slice(0, width - 1)}…` : text
  }
  const lineOf = (s: Shown): string => {
    const mark = { running: '▸', done: '✓', cached: '≡', failed: '✗' }[s.state]
    const took = (s.ended ?? clock() - began) - s.began
    const right = s.state === 'cached' ? 'cached' : seconds(took)
    const width = Math.max(20, (out.columns ?? 80) - 1)
    const left = plainText(`${mark} ${title(s.name)}`)
    const room = width - right.length - 1
    return `${left.length > room ? `${left.slice(0, room - 1)}…` : left.padEnd(room)} ${right}`
  }
  const draw = (last = false): void => {
    let text = drawn > 0 ? `\x1b[${drawn}A\x1b[J` : ''
    // What is finished is written once, in order of the end, and never again.
    for (const [n, s] of steps) {
      if (s.state === 'running' || written.has(n)) continue
      written.add(n)
      text += `${lineOf(s)}\n${s.notes.map(note => `  ${fit(note)}\n`).join('')}`
    }
    drawn = 0
    const rows = Math.max(5, (out.rows ?? 24) - 2)
    for (const s of steps.values()) {
      if (s.state !== 'running' || last || drawn >= rows) continue
      const below = [...s.notes, ...s.tail.slice(-TAIL)].slice(0, Math.max(0, rows - drawn - 1))
      text += `${lineOf(s)}\n${below.map(line => `  ${fit(line)}\n`).join('')}`
      drawn += 1 + below.length
    }
    out.write(text)
  }
  return {
    event: event => {
      timer ??= setInterval(draw, FRAME).unref()
      switch (event.type) {
        case 'start':
          steps.set(event.step, {
            name: event,
            began: event.time,
            ended: undefined,
            state: 'running',
            tail: [],
            notes: [],
          })
          return
        case 'output': {
          const tail = steps.get(event.step)?.tail
          tail?.push(...lines.push(event.step, event.stream, event.data).slice(-TAIL))
          tail?.splice(0, tail.length - TAIL)
          return
        }
        case 'miss':
          steps.get(event.step)?.notes.push(...differences(event))
          return
        case 'done':
        case 'failed': {
          const s = steps.get(event.step)
          if (!s) return
          s.ended = event.time
          s.state = event.type === 'failed' ? 'failed' : event.cached ? 'cached' : 'done'
          return
        }
        case 'warning':
          warnings.push(plainText(event.message))
          return
        case 'plan':
      }
    },
    end: () => {
      clearInterval(timer)
      draw(true)
      for (const warning of warnings) out.write(`warning: ${warning}\n`)
    },
  }
}

/** Keeps the last lines of each step, for showing the failing one's once more at the end. */
export class Tails {
  readonly #lines = new Lines()
  readonly #tails = new Map<number, string[]>()
  readonly #names = new Map<number, StepName>()
  readonly #keep: number
  failed: { name: StepName; lines: readonly string[] } | undefined

  constructor(keep = 40) {
    this.#keep = keep
  }

  event(event: BuildEvent): void {
    if (event.type === 'start') this.#names.set(event.step, event)
    else if (event.type === 'output') this.#push(event.step, this.#lines.push(event.step, event.stream, event.data))
    else if (event.type === 'done') this.#tails.delete(event.step)
    else if (event.type === 'failed') {
      this.#push(event.step, this.#lines.rest(event.step))
      const name = this.#names.get(event.step)
      // Stages that were stopped because of it fail later: the first one is the cause.
      if (name && !this.failed) this.failed = { name, lines: this.#tails.get(event.step) ?? [] }
    }
  }

  #push(step: number, lines: string[]): void {
    let tail = this.#tails.get(step)
    if (!tail) this.#tails.set(step, (tail = []))
    for (const line of lines) tail.push(line)
    if (tail.length > this.#keep) tail.splice(0, tail.length - this.#keep)
  }
}

/** `> [stage 2/3] RUN …:` and the command's last lines. */
export function failureOutput(tails: Tails): string {
  if (!tails.failed || tails.failed.lines.length === 0) return ''
  const { name, lines } = tails.failed
  return `------\n > ${plainText(title(name))}:\n${lines.join('\n')}\n------\n`
}
