/**
 * Owns a process that serves mounts for tests, and the synchronous conversation with it: the tests' own calls on a mount
 * block, so its server must be another process; and remounting in the middle of a test must be one plain call.
 * Protocol: a line of JSON each way through two FIFOs.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MountSpec } from '../../lib/mount/spec.js'

export type MountOrder =
  | { readonly op: 'mount'; readonly spec: MountSpec; readonly mountpoint: string }
  | { readonly op: 'unmount'; readonly mountpoint: string }
  | { readonly op: 'stats'; readonly mountpoint: string }
  | { readonly op: 'end' }

export interface MountAnswer {
  readonly error?: string
  readonly passthrough?: boolean
  readonly stats?: Readonly<Record<string, number>>
  /** What the server logged since the last answer. */
  readonly log: readonly string[]
}

export class MountHost {
  readonly #to: number
  readonly #from: number
  readonly #child: ChildProcess

  /** Starts the process; its FIFOs are in the existing directory `scratch`, their names begin with `name`. */
  constructor(scratch: string, name = 'host') {
    const [to, from] = [join(scratch, `${name}-orders`), join(scratch, `${name}-answers`)]
    const made = spawnSync('mkfifo', [to, from], { encoding: 'utf8' })
    if (made.status !== 0) throw new Error(made.stderr)
    // Read-write, so that opening does not wait for the other side.
    this.#to = openSync(to, constants.O_RDWR)
    this.#from = openSync(from, constants.O_RDWR)
    this.#child = spawn(
      process.execPath,
      [fileURLToPath(new URL('./mount-host-process.js', import.meta.url)), to, from],
      { stdio: ['ignore', 'ignore', 'inherit'], cwd: '/' },
    )
    this.#child.unref()
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** Has the order carried out. Throws what the server says. */
  order(order: MountOrder): MountAnswer {
    writeSync(this.#to, `${JSON.stringify(order)}\n`)
    let text = ''
    const buffer = Buffer.alloc(65536)
    while (!text.endsWith('\n')) text += buffer.toString('utf8', 0, readSync(this.#from, buffer))
    const answer = JSON.parse(text) as MountAnswer
    if (answer.error !== undefined) throw new Error(`${order.op}: ${answer.error}`)
    return answer
  }

  end(): void {
    this.order({ op: 'end' })
    closeSync(this.#to)
    closeSync(this.#from)
  }

  /** Ends it as a crash would. */
  kill(): void {
    this.#child.kill('SIGKILL')
    closeSync(this.#to)
    closeSync(this.#from)
  }
}
