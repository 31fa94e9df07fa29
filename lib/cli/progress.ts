/**
 * Owns progress on a terminal: one line per layer, redrawn in place, in Docker's words. Without a terminal only what is
 * final is said, a line each, and nothing at all when asked to be quiet.
 */
import { size } from './human.js'
import type { Output } from './command.js'

export interface Progress {
  /** Starts or changes a line. `total` 0: only the state is shown. */
  update(id: string, state: string, done?: number, total?: number): void
  /** The line will not change any more. */
  finish(id: string, state: string): void
  note(message: string): void
  /** Leaves the cursor below the lines. */
  close(): void
}

const BAR = 30
const INTERVAL = 100

export function progressOn(out: Output, quiet = false): Progress {
  if (quiet) return { update() {}, finish() {}, note: message => void out.write(`${message}\n`), close() {} }
  return out.isTTY === true ? new Lines(out) : new Log(out)
}

/** Not a terminal: final states only. */
class Log implements Progress {
  readonly #out: Output
  constructor(out: Output) {
    this.#out = out
  }
  update(): void {}
  finish(id: string, state: string): void {
    this.#out.write(`${id}: ${state}\n`)
  }
  note(message: string): void {
    this.#out.write(`${message}\n`)
  }
  close(): void {}
}

class Lines implements Progress {
  readonly #out: Output
  readonly #lines = new Map<string, string>()
  #drawn = 0
  #last = 0

  constructor(out: Output) {
    this.#out = out
  }

  update(id: string, state: string, done = 0, total = 0): void {
    const fill = total > 0 ? Math.min(BAR, Math.floor((done / total) * BAR)) : 0
    const bar = total > 0 ? ` [${'='.repeat(fill)}>${' '.repeat(BAR - fill)}] ${size(done)}/${size(total)}` : ''
    this.#lines.set(id, `${id}: ${state}${bar}`)
    const now = Date.now()
    if (now - this.#last < INTERVAL) return
    this.#last = now
    this.#draw()
  }

  finish(id: string, state: string): void {
    this.#lines.set(id, `${id}: ${state}`)
    this.#draw()
  }

  note(message: string): void {
    this.#lines.set(`note ${this.#lines.size}`, message)
    this.#draw()
  }

  close(): void {
    this.#draw()
  }

  #draw(): void {
    const width = this.#out.columns ?? 80
    const up = this.#drawn > 0 ? `\x1b[${this.#drawn}A` : ''
    this.#out.write(up + [...this.#lines.values()].map(line => `\x1b[2K${line.slice(0, width - 1)}\n`).join(''))
    this.#drawn = this.#lines.size
  }
}
