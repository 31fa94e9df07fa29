/**
 * Owns one FUSE session: the loop that reads requests from the mount's /dev/fuse fd, has them answered by the handlers,
 * and writes the replies; requests that wait for a job; what the kernel lets a filesystem do (`Host`).
 *
 * The loop is synchronous and belongs to one thread, which serves nothing else meanwhile. After a request it looks for
 * the next one without sleeping for some 30 µs (a round trip then takes 20 µs instead of 55), then blocks in poll(2).
 * It never spins without a request having come, and stops spinning where that does not pay.
 *
 * Invariant: each request that wants an answer gets exactly one, whatever the filesystem does: an exception is EIO and
 * a line in the log.
 */
import { now } from '../clock.js'
import { E, FsError } from '../errno.js'
import { PENDING, ROOT, type Filesystem, type Host, type Job, type NodeId } from '../union/filesystem.js'
import { POLL } from '../sys/constants.js'
import { eventDrain, PollSet } from '../sys/event.js'
import { close, readAt, writeAt } from '../sys/file.js'
import { runJob } from '../sys/job.js'
import { memfd } from '../sys/memory.js'
import { isBeingKilled } from './being-killed.js'
import { GIVEN_ALONG, Handlers } from './handlers.js'
import { Jobs } from './jobs.js'
import { negotiate, type Agreed, type Wishes } from './negotiate.js'
import { Notifier } from './notify.js'
import { OpenFiles } from './open-files.js'
import { NO_REPLY, Op, OP_COUNT } from './protocol.js'
import { Reply } from './reply.js'
import { Request } from './request.js'
import { Splice } from './splice.js'
import { Syncs } from './syncs.js'
import { TREE_NODE } from './tree.js'
import { createWake, type Wake } from './wake.js'

export interface SessionOptions {
  /** The mount's /dev/fuse fd, non-blocking. The session closes it at its end. */
  readonly fd: number
  readonly filesystem: Filesystem
  readonly wishes: Wishes
  readonly volatile: boolean
  /** The mount is shown by `treeOf` (tree.ts): the name TREE_NAME in its root is taken. */
  readonly tree?: boolean
  readonly log: (message: string) => void
  /** Requests seen, by opcode; `Counter` names the others. Shared memory, so that another thread can look. */
  readonly counters?: Float64Array
  readonly wake?: Wake
  /** More fds to be woken by, as if somebody had rung: those of the event loop, when the session runs in its thread. */
  readonly wakeFds?: readonly number[]
  /** INIT is done: the mount answers. */
  readonly onReady?: () => void
}

/** Places in `counters` after the opcodes. */
export const Counter = { errors: OP_COUNT, sleeps: OP_COUNT + 1, spins: OP_COUNT + 2, parked: OP_COUNT + 3 } as const
export const COUNTERS = OP_COUNT + 4

interface Parked {
  readonly saved: Buffer
  readonly uniqueLow: number
  readonly uniqueHigh: number
}

/** Spin that long after a request, in looks at the device; a look that finds nothing takes about 0.4 µs. */
const SPIN_LOOKS = 80
/** In a walk, whose process has a directory's worth of names to look at before it asks again. */
const WALK_LOOKS = 400
/** Nothing asked for as long as this: time for what would keep a request waiting. */
const QUIET_MS = 300
/** A loop that is never idle looks at its other fds that often. */
const REQUESTS_PER_POLL = 1024

export class Session implements Host {
  readonly wake: Wake
  passthrough = false
  writeback = false
  dontMask = false
  /** What INIT agreed on; undefined before it. */
  agreed: Agreed | undefined

  readonly #fd: number
  readonly #fs: Filesystem
  readonly #wishes: Wishes
  readonly #log: (message: string) => void
  readonly #counters: Float64Array
  readonly #request = new Request()
  readonly #reply = new Reply()
  readonly #notifier: Notifier
  readonly #files: OpenFiles
  readonly #splice: Splice
  readonly #handlers: Handlers
  readonly #polls: PollSet
  readonly #wakeFds: number
  readonly #onReady: (() => void) | undefined
  readonly #jobs: Jobs
  readonly #parked = new Map<Job, Parked[]>()
  #deferred: Job | undefined
  readonly #syncs = new Syncs()
  /** A job that this thread does before it answers. */
  #own: Job | undefined
  /** A request is being answered: a job that is deferred is what it waits for. */
  #answering = false
  #seen = 0
  /** Of 16: how often spinning has found a request lately. */
  #luck = 16
  #ended = false
  #woken = false
  #sincePoll = 0
  readonly #ownWake: boolean

  constructor(options: SessionOptions) {
    this.#fd = options.fd
    this.#fs = options.filesystem
    this.#wishes = options.wishes
    this.#log = options.log
    this.#counters = options.counters ?? new Float64Array(COUNTERS)
    this.wake = options.wake ?? createWake()
    this.#notifier = new Notifier(options.fd, GIVEN_ALONG + 1)
    this.#files = new OpenFiles(options.fd)
    this.#splice = new Splice(options.fd, this.#reply)
    this.#handlers = new Handlers({
      request: this.#request,
      reply: this.#reply,
      filesystem: options.filesystem,
      files: this.#files,
      notifier: this.#notifier,
      splice: this.#splice,
      volatile: options.volatile,
      tree: options.tree === true,
    })
    this.#polls = new PollSet([
      { fd: options.fd, events: POLL.IN },
      { fd: this.wake.eventfd, events: POLL.IN },
      ...(options.wakeFds ?? []).map(fd => ({ fd, events: POLL.IN })),
    ])
    this.#wakeFds = options.wakeFds?.length ?? 0
    this.#onReady = options.onReady
    this.#ownWake = options.wake === undefined
    this.#jobs = new Jobs(this.wake)
  }

  // Host: what the filesystem may ask for.

  defer(job: Job): typeof PENDING {
    if (this.#parked.has(job)) this.#deferred = job
    else if (this.#answering && this.#syncs.here(job.spec, this.#request.node, now())) this.#own = job
    else {
      this.#deferred = job
      this.#parked.set(job, [])
      this.#jobs.add(job)
      if (!this.#answering) this.#jobs.begin()
    }
    return PENDING
  }

  invalidateAttributes(node: NodeId): void {
    this.#notifier.invalidateAttributes(node)
    if (node === ROOT) this.#notifier.invalidateAttributes(TREE_NODE)
  }

  invalidateNames(): boolean {
    return this.#notifier.invalidateNames() === 0
  }

  log(message: string): void {
    this.#log(message)
  }

  /**
   * Serves until somebody rings (`woken`: call again, after a turn of the event loop if that is wanted) or the mount is
   * gone (`ended`: call `close`).
   */
  run(): 'woken' | 'ended' {
    for (;;) {
      if (Atomics.load(this.wake.counter, 0) !== this.#seen && this.#collect()) return 'woken'
      if (this.#woken) {
        this.#woken = false
        return 'woken'
      }
      const n = readAt(this.#fd, this.#request.address, this.#request.capacity)
      if (n > 0) {
        this.#serve(n)
        if (++this.#sincePoll >= REQUESTS_PER_POLL) this.#poll(0)
      } else if (n === -E.EAGAIN) this.#rest()
      else if (n !== -E.ENOENT && n !== -E.EINTR) {
        // ENODEV: unmounted. ECONNABORTED: aborted (umount -f, fusectl).
        if (n !== -E.ENODEV && n !== -E.ECONNABORTED) this.#log(`fuse: cannot read a request: errno ${-n}`)
        this.#ended = true
      }
      if (this.#ended) return 'ended'
    }
  }

  /** After `ended`: finishes the jobs, closes the filesystem and the device. */
  async close(): Promise<void> {
    await this.#jobs.close((job, result) => this.#finish(job, result))
    try {
      this.#fs.destroy()
    } catch (error) {
      this.#log(`fuse: closing the filesystem: ${String(error)}`)
    }
    this.#splice.close()
    close(this.#fd)
    if (this.#ownWake) close(this.wake.eventfd)
  }

  /** Looks for a request for a moment, then sleeps until one comes or somebody rings. */
  #rest(): void {
    this.#syncs.next(-1)
    if (this.#workAhead()) return
    if (this.#luck > 2 || Math.random() < 0.0625) {
      const looks = this.#fs.walking === true ? WALK_LOOKS : SPIN_LOOKS
      for (let i = 0; i < looks; i++) {
        const n = readAt(this.#fd, this.#request.address, this.#request.capacity)
        if (n === -E.EAGAIN) continue
        if (n > 0) {
          if (this.#luck < 16) this.#luck++
          this.#count(Counter.spins)
          this.#serve(n)
          return
        }
        return // run() reads again and sees why
      }
      if (this.#luck > 0) this.#luck--
    }
    this.#count(Counter.sleeps)
    if (this.#fs.untidy !== true) this.#poll(-1)
    else if (this.#poll(QUIET_MS) === 0) this.#fs.tidy?.()
  }

  /** Does what is likely asked for next. True: a request was served meanwhile, or run() has something to see. */
  #workAhead(): boolean {
    while (this.#fs.ahead?.() === true) {
      if (Atomics.load(this.wake.counter, 0) !== this.#seen) return true
      const n = readAt(this.#fd, this.#request.address, this.#request.capacity)
      if (n === -E.EAGAIN) continue
      if (n > 0) {
        this.#serve(n)
        if (++this.#sincePoll >= REQUESTS_PER_POLL) this.#poll(0)
      }
      return true
    }
    return false
  }

  /** Waits for a request, a ring, or something on the further fds. Returns how many there are; 0: the time is over. */
  #poll(timeout: number): number {
    this.#sincePoll = 0
    const ready = this.#polls.poll(timeout)
    if (ready < 1) return ready
    for (let i = 0; i < this.#wakeFds; i++) if (this.#polls.revents(i + 2) !== 0) this.#woken = true
    return ready
  }

  /** Collects finished jobs. True: somebody else rang. */
  #collect(): boolean {
    this.#seen = Atomics.load(this.wake.counter, 0)
    eventDrain(this.wake.eventfd)
    let collected = false
    this.#jobs.collect((job, result) => {
      collected = true
      this.#finish(job, result)
    })
    return !collected
  }

  #count(index: number): void {
    this.#counters[index] = (this.#counters[index] as number) + 1
  }

  #serve(length: number): void {
    const request = this.#request
    if (!request.accept(length)) {
      this.#log(`fuse: a request of ${length} bytes that says ${request.u32(0)}`)
      return
    }
    const opcode = request.opcode
    this.#syncs.next(opcode)
    if (opcode < OP_COUNT) this.#count(opcode)
    if (opcode === Op.INIT) this.#init()
    else if (opcode === Op.INTERRUPT) this.#interrupt(request.u32(40), request.u32(44))
    else if (this.agreed === undefined) this.#send(-E.EIO, 0)
    else this.#answer(opcode)
  }

  #answer(opcode: number): void {
    let result = this.#dispatch(opcode)
    for (let own = this.#own; result === PENDING && own !== undefined; own = this.#own) {
      this.#own = undefined
      const began = now()
      this.#done(own, runJob(own.spec))
      this.#syncs.done(this.#request.node, began, now())
      result = this.#dispatch(opcode)
    }
    if (result >= 0) {
      if (this.#send(0, result) === -E.ENOENT) this.#handlers.undo(opcode, result)
    } else if (result === PENDING) this.#park()
    else if (result !== NO_REPLY) {
      this.#count(Counter.errors)
      this.#send(result, 0)
    }
    // After the reply: who deferred it need not wait for a thread to start.
    if (this.#jobs.due) this.#jobs.begin()
  }

  #dispatch(opcode: number): number {
    this.#answering = true
    try {
      return this.#handlers.dispatch(opcode)
    } catch (error) {
      return this.#caught(error, opcode)
    } finally {
      this.#answering = false
    }
  }

  /** Writes the reply to the current request. 0 or `-errno`; ENOENT: nobody waits for it any more. */
  #send(error: number, payload: number): number {
    const length = this.#reply.header(this.#request.uniqueLow, this.#request.uniqueHigh, error, payload)
    const r = writeAt(this.#fd, this.#reply.address, length)
    if (r >= 0) return 0
    if (r === -E.ENOENT || r === -E.ENODEV) return r
    this.#log(`fuse: the kernel refused a reply: opcode ${this.#request.opcode}, errno ${-r}, ${length} bytes`)
    if (error === 0) this.#send(-E.EIO, 0)
    return r
  }

  #caught(error: unknown, opcode: number): number {
    if (error instanceof FsError && error.errno < 0) return error.errno
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#log(`fuse: opcode ${opcode} on node ${this.#request.node}: ${text}`)
    return -E.EIO
  }

  #init(): void {
    const outcome = negotiate(this.#request, this.#reply, this.#wishes)
    if (outcome === 'retry') {
      this.#send(0, 64)
      return
    }
    if (outcome === 'unsupported') {
      this.#log(`fuse: protocol ${this.#request.u32(40)}.${this.#request.u32(44)} of the kernel is too old`)
      this.#send(-E.EPROTO, 0)
      this.#ended = true
      return
    }
    const agreed = outcome.result
    if (this.#send(0, outcome.payload) < 0) return
    this.passthrough = agreed.passthrough && this.#tryPassthrough()
    this.writeback = agreed.writeback
    this.dontMask = agreed.dontMask
    this.#handlers.configure(agreed)
    this.agreed = agreed
    this.#fs.init(this)
    this.#onReady?.()
  }

  /** A file in memory is as good as any to learn whether this process may register backing files (EPERM if not). */
  #tryPassthrough(): boolean {
    const fd = memfd('lamina-passthrough-trial')
    if (fd < 0) return false
    const ok = this.#files.enablePassthrough(fd)
    close(fd)
    return ok
  }

  #park(): void {
    const list = this.#deferred === undefined ? undefined : this.#parked.get(this.#deferred)
    this.#deferred = undefined
    const request = this.#request
    if (list === undefined) {
      this.#log(`fuse: opcode ${request.opcode} waits for a job that nobody deferred`)
      this.#send(-E.EIO, 0)
      return
    }
    this.#count(Counter.parked)
    list.push({ saved: request.save(), uniqueLow: request.uniqueLow, uniqueHigh: request.uniqueHigh })
  }

  /** Tells the filesystem, then makes the waiting requests again, in the order they came. */
  #finish(job: Job, result: number): void {
    const list = this.#parked.get(job)
    this.#parked.delete(job)
    this.#done(job, result)
    if (list === undefined) return
    for (const parked of list) {
      this.#request.restore(parked.saved)
      if (job.spec.op === 'fsync') this.#syncs.helped(this.#request.node, now())
      this.#answer(this.#request.opcode)
    }
  }

  #done(job: Job, result: number): void {
    try {
      job.done(result)
    } catch (error) {
      this.#log(`fuse: after a ${job.spec.op} job: ${String(error)}`)
    }
  }

  /**
   * A signal came for the caller of a request that we have. Most signals have a handler, and a filesystem call that
   * says EINTR then breaks programs (the kernel's own filesystems never do): only a caller that is being killed is let go.
   */
  #interrupt(uniqueLow: number, uniqueHigh: number): void {
    for (const list of this.#parked.values()) {
      const i = list.findIndex(parked => parked.uniqueLow === uniqueLow && parked.uniqueHigh === uniqueHigh)
      const parked = list[i]
      if (parked === undefined) continue
      if (!isBeingKilled(parked.saved.readUInt32LE(32))) return
      list.splice(i, 1)
      this.#request.restore(parked.saved)
      this.#send(-E.EINTR, 0)
      return
    }
  }
}
