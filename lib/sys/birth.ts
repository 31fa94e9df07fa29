/**
 * Owns how a process is born: a few machine instructions that clone3 and then, in the child, run a table of system
 * calls up to execve. Node cannot fork, and a threaded process cannot enter most namespaces; the child of this stub is
 * alone in its thread group, so it can.
 * Formats: birth/x86-64.s and birth/arm64.s are the listings of the bytes below (a test assembles and compares them);
 * a step is 14 64-bit words: nr, six arguments, store, two (errno, step to go on with) pairs, flags, result.
 * Invariant: the child writes nothing but results, and the table outlives it (`Birth` holds it until the exec).
 */
import koffi from 'koffi'
import { errnoName } from '../errno.js'
import { addressOf, alloc, libc, ret } from './libc.js'

const code =
  process.arch === 'arm64'
    ? 'e90302aaea0303aa683680d2010000d4400000b4c0035fd63f010aeb42030054280140f9208540a9' +
      '228d41a9249542a9010000d4203500f91ffc3fb1220100542b1d40f94b0000b4600100f92c3140f9' +
      '4c000836600200b529c10191efffff17e00300cb2b2140f91f000beb200100542b2940f91f000beb' +
      '000100542c3140f9ccfe0737e00f80d2c80b80d2010000d4292540f9e1ffff17292d40f9dfffff17' +
      '000080d2c80b80d2010000d4'
    : '5341544889d34989ccb8b30100000f054885c07404415c5bc34c39e3735b488b03488b7b08488b73' +
      '10488b53184c8b53204c8b43284c8b4b300f0548894368483d01f0ffff731d488b4b384885c97403' +
      '488901f643600274054885c075334883c370ebb548f7d8483b43407418483b43507418f643600175' +
      'e5bf7f000000b8e70000000f05488b5b48eb8e488b5b58eb8831ffb8e70000000f05'

/** The stub's machine code for this architecture. */
export const stubBytes = Buffer.from(code, 'hex')

const c = {
  mmap: libc.func('intptr_t mmap(intptr_t at, size_t n, int prot, int flags, int fd, intptr_t off)'),
  mprotect: libc.func('int mprotect(intptr_t at, size_t n, int prot)'),
}
const stubType = koffi.proto('intptr_t lamina_birth(intptr_t args, size_t size, intptr_t steps, intptr_t end)')

let entry = 0
/** Maps the stub once, written first and then made read-execute (no page is ever writable and executable). */
function stub(): number {
  if (entry !== 0) return entry
  const at = c.mmap(0, 4096, 3, 0x22, -1, 0) as number
  if (at === -1) throw new Error(`mmap of the birth stub: ${errnoName(koffi.errno())}`)
  new Uint8Array(koffi.view(BigInt(at), stubBytes.length)).set(stubBytes)
  const r = ret(c.mprotect(at, 4096, 5) as number)
  if (r < 0) throw new Error(`mprotect of the birth stub: ${errnoName(r)}`)
  entry = at
  return at
}

const WORDS = 14
const STEP = WORDS * 8
const UNTOUCHED = 0x7ff1_7ff1_7ff1_7ff1n
const ANY = 1n
const FORK = 2n

/** An argument: a number, bytes or text passed by their address, or null for 0. Text is a byte string, sent with a NUL. */
export type Arg = number | bigint | string | Uint8Array | null

export interface StepRules {
  /** Errors that do not stop the birth: up to two errnos, or any. */
  ignore?: readonly number[] | 'any'
  /** On this errno go on at a later step (see `label`), instead of stopping. */
  branch?: readonly (readonly [errno: number, to: Label])[]
}

/** A step that another one jumps to or stores into, known before it is written. */
export interface Label {
  at: number
}

interface Step {
  what: string
  nr: number
  args: readonly Arg[]
  rules: StepRules
  store: { step: number; argument: number } | { address: bigint } | undefined
  fork: boolean
}

/** Why a birth stopped. */
export interface Stopped {
  /** Position in the table. */
  index: number
  /** The step's name as given by its author. */
  what: string
  errno: number
}

/** clone3(2)'s arguments that a birth uses. */
export interface CloneOptions {
  /** CLONE flags; VM is always added, and CLEAR_SIGHAND but for `handlers`. */
  flags?: number | bigint
  /** Leave out CLONE_CLEAR_SIGHAND, which is Linux 5.5: for a child that execs nothing and ends at once. */
  handlers?: boolean
  /** The fd of a cgroup v2 directory to be born in. */
  cgroup?: number
  /** Wait in the caller until the child has exec'd or died (CLONE_VFORK): the whole thread stands still. */
  wait?: boolean
}

const CLONE_VM = 0x100n
const CLONE_PIDFD = 0x1000n
const CLONE_VFORK = 0x4000n
const CLONE_CLEAR_SIGHAND = 0x1_0000_0000n
const CLONE_INTO_CGROUP = 0x2_0000_0000n
const SIGCHLD = 17n

/** A table of system calls for a child to run, and its birth. */
export class Birth {
  readonly #steps: Step[] = []
  readonly #keep: Uint8Array[] = []
  #table: Buffer | undefined
  readonly #pidfd = alloc(8)

  /** Number of steps so far. */
  get length(): number {
    return this.#steps.length
  }

  /** Adds a call. `what` names it in error messages. Returns its position. */
  step(what: string, nr: number, args: readonly Arg[], rules: StepRules = {}): number {
    if (args.length > 6) throw new RangeError('a system call has at most six arguments')
    if (Array.isArray(rules.ignore) && rules.ignore.length + (rules.branch?.length ?? 0) > 2)
      throw new RangeError('a step has room for two errnos')
    this.#steps.push({ what, nr, args, rules, store: undefined, fork: false })
    return this.#steps.length - 1
  }

  /** A fork in the table: the rest of the table is run by the new process, the forking one exits 0 at once. */
  fork(what: string, nr: number, args: readonly Arg[]): number {
    const at = this.step(what, nr, args)
    this.#at(at).fork = true
    return at
  }

  /** The result of step `from` becomes argument `argument` of step `to` (which may be a later one). */
  pass(from: number, to: number, argument: number): void {
    this.#at(from).store = { step: to, argument }
  }

  /** The result of step `from` is written to memory at `address` (8 bytes). */
  passTo(from: number, address: number): void {
    this.#at(from).store = { address: BigInt(address) }
  }

  /** Makes `label` name the next step. */
  mark(label: Label): void {
    label.at = this.#steps.length
  }

  /** Keeps memory alive as long as the child may use it; returns its address. */
  hold(memory: Uint8Array): number {
    this.#keep.push(memory)
    return addressOf(memory)
  }

  /** argv or envp of an execve step, held. */
  vector(strings: readonly string[]): Buffer {
    const all = alloc((strings.length + 1) * 8)
    strings.forEach((text, i) => all.writeBigUInt64LE(BigInt(this.hold(Buffer.from(`${text}\0`))), i * 8))
    return all
  }

  #at(index: number): Step {
    const s = this.#steps[index]
    if (s === undefined) throw new RangeError(`no step ${index}`)
    return s
  }

  #value(arg: Arg): bigint {
    if (arg === null) return 0n
    if (typeof arg === 'bigint') return BigInt.asUintN(64, arg)
    if (typeof arg === 'number') return BigInt.asUintN(64, BigInt(arg))
    if (typeof arg !== 'string') return BigInt(this.hold(arg))
    const text = alloc(Buffer.byteLength(arg, 'latin1') + 1)
    text.latin1Write(arg)
    return BigInt(this.hold(text))
  }

  #seal(): Buffer {
    const table = alloc(STEP * this.#steps.length)
    const base = BigInt(addressOf(table))
    const word = (step: number, i: number): number => step * STEP + i * 8
    const addressAt = (step: number): bigint => base + BigInt(step * STEP)
    this.#steps.forEach((s, i) => {
      table.writeBigUInt64LE(BigInt(s.nr), word(i, 0))
      s.args.forEach((arg, n) => table.writeBigUInt64LE(this.#value(arg), word(i, 1 + n)))
      const pairs: [bigint, bigint][] = []
      for (const [errno, to] of s.rules.branch ?? []) pairs.push([BigInt(errno), addressAt(to.at)])
      if (Array.isArray(s.rules.ignore))
        for (const errno of s.rules.ignore as readonly number[]) pairs.push([BigInt(errno), addressAt(i + 1)])
      pairs.forEach(([errno, to], n) => {
        table.writeBigUInt64LE(errno, word(i, 8 + 2 * n))
        table.writeBigUInt64LE(to, word(i, 9 + 2 * n))
      })
      table.writeBigUInt64LE((s.rules.ignore === 'any' ? ANY : 0n) | (s.fork ? FORK : 0n), word(i, 12))
      table.writeBigUInt64LE(UNTOUCHED, word(i, 13))
    })
    this.#steps.forEach((s, i) => {
      if (s.store === undefined) return
      const to = 'address' in s.store ? s.store.address : addressAt(s.store.step) + BigInt((1 + s.store.argument) * 8)
      table.writeBigUInt64LE(to, word(i, 7))
    })
    return table
  }

  /**
   * Gives birth. The child starts with every signal blocked and every handler at its default (ignored ones stay
   * ignored), in this process's directory and with copies of all its fds. Returns the child's pid and pidfd, or
   * `-errno` of clone3 as pid.
   */
  run(options: CloneOptions = {}): { pid: number; pidfd: number } {
    const table = (this.#table = this.#seal())
    let flags = BigInt(options.flags ?? 0) | CLONE_VM | CLONE_PIDFD
    if (options.handlers !== true) flags |= CLONE_CLEAR_SIGHAND
    if (options.wait === true) flags |= CLONE_VFORK
    if (options.cgroup !== undefined) flags |= CLONE_INTO_CGROUP
    const args = alloc(88)
    args.writeBigUInt64LE(flags, 0)
    args.writeBigUInt64LE(BigInt(this.hold(this.#pidfd)), 8)
    args.writeBigUInt64LE(SIGCHLD, 32)
    args.writeBigUInt64LE(BigInt(options.cgroup ?? 0), 80)
    const steps = addressOf(table)
    const before = blockSignals()
    const pid = koffi.call(
      BigInt(stub()),
      stubType,
      this.hold(args),
      options.cgroup === undefined ? 80 : 88,
      steps,
      steps + table.length,
    ) as number
    restoreSignals(before)
    return pid < 0 ? { pid, pidfd: -1 } : { pid, pidfd: this.#pidfd.readInt32LE(0) }
  }

  /** What step `index` returned; undefined when the child has not come there. */
  result(index: number): number | undefined {
    const value = this.#table?.readBigInt64LE(index * STEP + 104)
    return value === undefined || value === UNTOUCHED ? undefined : Number(value)
  }

  /** The step at which the child stopped; undefined when it went to the end of the table, or on into an exec. */
  stopped(): Stopped | undefined {
    for (let i = this.#steps.length - 1; i >= 0; i--) {
      const r = this.result(i)
      if (r === undefined) continue
      const { what, rules } = this.#at(i)
      // An exec that succeeded leaves no result: the last one written is the step before it.
      if (r >= 0 || r < -4095 || rules.ignore === 'any') return undefined
      if (Array.isArray(rules.ignore) && rules.ignore.includes(-r)) return undefined
      if (rules.branch?.some(([errno]) => errno === -r) === true) return undefined
      return { index: i, what, errno: -r }
    }
    return undefined
  }
}

const sigprocmask = libc.func('int pthread_sigmask(int how, uintptr_t set, uintptr_t old)')
const everything = Buffer.alloc(128, 0xff)

/** Blocks every signal in this thread, so that no handler of Node's runs in a child that shares its memory. */
function blockSignals(): Buffer {
  const old = alloc(128)
  const r = sigprocmask(2, addressOf(everything), addressOf(old)) as number
  if (r !== 0) throw new Error(`pthread_sigmask: ${errnoName(r)}`)
  return old
}

function restoreSignals(old: Buffer): void {
  sigprocmask(2, addressOf(old), 0)
}
