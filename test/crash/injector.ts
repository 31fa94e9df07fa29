/**
 * Owns the fault at the k-th change: it stands before every mutating system call of the union (lib/union/mutate.ts) and,
 * when its time has come, makes that call fail, or ends the process there as far as the disk can tell.
 */
import { E } from '../../lib/errno.js'
import { copyFileRange } from '../../lib/sys/file.js'
import { runJob, type JobSpec } from '../../lib/sys/job.js'
import { O } from '../../lib/sys/constants.js'
import { mutate } from '../../lib/union/mutate.js'

/** Thrown where a process would have ended. */
export class Ended extends Error {}

export type Fault =
  /** The call does nothing and says `errno` (positive); what follows goes on. */
  | { readonly kind: 'error'; readonly errno: number }
  /** Nothing more reaches the disk from here on. A copy is half done. */
  | { readonly kind: 'end' }

type Call = (...args: never[]) => number | string
const real: Readonly<Record<string, Call>> = { ...mutate }
const table = mutate as unknown as Record<string, Call>
/** They change nothing that a later reader of the running kernel could see. */
const syncs = new Set(['fsync', 'fdatasync', 'syncfs'])

export class Injector {
  #left = 0
  #fault: Fault | undefined
  #ended = false
  #silent = false
  /** What was called since `arm`, for messages. */
  calls: string[] = []
  /** The fault has struck. */
  struck = false

  /** Puts itself before the calls. */
  install(): void {
    for (const name of Object.keys(real)) table[name] = (...args: never[]) => this.#call(name, args)
  }

  /** Takes itself away. */
  remove(): void {
    Object.assign(table, real)
  }

  /** Lets `k` changes pass; the one after them meets `fault`. */
  arm(k: number, fault: Fault): void {
    this.#left = k
    this.#fault = fault
    this.#ended = false
    this.struck = false
    this.calls = []
  }

  disarm(): void {
    this.#fault = undefined
    this.#ended = false
    this.#silent = false
  }

  /** From here on nothing reaches the disk, and nothing is thrown: for closing what an ended process held. */
  silence(): void {
    this.#silent = true
  }

  /** For the jobs that run beside the loop. */
  readonly runJob = (spec: JobSpec): number => {
    const refused = this.#meet(`job ${spec.op}`, spec.op !== 'copy', () => {
      if (spec.op === 'copy') copyFileRange(spec.from, 0, spec.to, 0, spec.size >> 1)
    })
    return refused ?? runJob(spec)
  }

  #call(name: string, args: never[]): number | string {
    const makes = O.CREAT | O.TRUNC | (O.TMPFILE & ~O.DIRECTORY)
    if (name === 'openat' && ((args[2] as unknown as number) & makes) === 0) return (real[name] as Call)(...args)
    const refused = this.#meet(name, syncs.has(name), () => {})
    return refused ?? (real[name] as Call)(...args)
  }

  /** What the call is to answer instead, or undefined to let it through. */
  #meet(name: string, sync: boolean, half: () => void): number | undefined {
    if (this.#silent) return sync ? 0 : -E.EIO
    if (this.#ended) {
      if (sync) return 0
      throw new Ended(name)
    }
    if (this.#fault === undefined) return undefined
    if (sync && this.#fault.kind === 'end') return undefined
    this.calls.push(name)
    if (this.#left-- !== 0) return undefined
    this.struck = true
    if (this.#fault.kind === 'error') return -this.#fault.errno
    half()
    this.#ended = true
    throw new Ended(name)
  }
}
