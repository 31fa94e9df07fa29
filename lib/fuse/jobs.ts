/**
 * Owns the helper threads that run deferred jobs (lib/sys/job.ts) beside the serving thread. A thread is started when a
 * job finds none idle, at most `LIMIT` of them (each costs about 9 MB), and ends by itself after some idle seconds.
 * The serving thread never runs its event loop while it serves, so results come back through shared memory: a slot per
 * thread (state, result) and a counter that tells there is something to collect, with an eventfd to end a poll.
 * Invariant: a slot's state changes IDLE -> BUSY here only, BUSY -> DONE and IDLE -> GONE in the thread only.
 */
import type { Worker } from 'node:worker_threads'
import { runJob, type JobSpec } from '../sys/job.js'
import type { Job } from '../union/filesystem.js'
import { Slot, type JobWorkerData, type Wake } from './wake.js'

const LIMIT = 2

interface Thread {
  readonly worker: Worker
  readonly slot: number
  job: Job | undefined
}

export class Jobs {
  readonly #wake: Wake
  readonly #slots = new Int32Array(new SharedArrayBuffer(LIMIT * 8))
  readonly #threads: (Thread | undefined)[] = []
  readonly #waiting: Job[] = []

  constructor(wake: Wake) {
    this.#wake = wake
  }

  /** Some were added since `begin`. */
  due = false

  /** Takes a job, which runs after the next `begin`. */
  add(job: Job): void {
    this.#waiting.push(job)
    this.due = true
  }

  /** Gives what waits to idle threads, and to new ones: starting one takes milliseconds, so nobody should be waiting. */
  begin(): void {
    this.due = false
    while (this.#waiting.length > 0) {
      const thread = this.#idle()
      if (thread === undefined) return
      this.#run(thread, this.#waiting.shift() as Job)
    }
  }

  /** Hands every finished job to `each`, once, and starts what waits. Cheap when nothing is finished. */
  collect(each: (job: Job, result: number) => void): void {
    for (const thread of this.#threads) {
      if (thread?.job === undefined || Atomics.load(this.#slots, thread.slot) !== Slot.DONE) continue
      const job = thread.job
      const result = this.#slots[thread.slot + 1] as number
      thread.job = undefined
      const next = this.#waiting.shift()
      if (next === undefined) {
        Atomics.store(this.#slots, thread.slot, Slot.IDLE)
        thread.worker.postMessage('idle')
      } else this.#run(thread, next)
      each(job, result)
    }
  }

  /** Finishes everything that was begun, in this thread if need be, and lets the threads go. */
  async close(each: (job: Job, result: number) => void): Promise<void> {
    for (const job of this.#waiting.splice(0)) each(job, runJob(job.spec))
    while (this.#threads.some(thread => thread?.job !== undefined)) {
      await new Promise(resolve => setTimeout(resolve, 5))
      this.collect(each)
    }
    for (const thread of this.#threads) await thread?.worker.terminate()
  }

  #idle(): Thread | undefined {
    for (const thread of this.#threads) if (thread !== undefined && this.#claim(thread)) return thread
    for (let i = 0; i < LIMIT; i++) {
      const old = this.#threads[i]
      if (old !== undefined && Atomics.load(this.#slots, old.slot) !== Slot.GONE) continue
      return (this.#threads[i] = this.#create(i * 2))
    }
    return undefined
  }

  /** IDLE -> BUSY, unless the thread has just left. */
  #claim(thread: Thread): boolean {
    return Atomics.compareExchange(this.#slots, thread.slot, Slot.IDLE, Slot.BUSY) === Slot.IDLE
  }

  #create(slot: number): Thread {
    Atomics.store(this.#slots, slot, Slot.BUSY)
    const workerData: JobWorkerData = { wake: this.#wake, slots: this.#slots, slot }
    // Loaded when the first job comes: node:worker_threads costs a server's start some milliseconds.
    const { Worker } = process.getBuiltinModule('node:worker_threads')
    const worker = new Worker(new URL('./job-worker.cjs', import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
    })
    return { worker, slot, job: undefined }
  }

  #run(thread: Thread, job: Job): void {
    Atomics.store(this.#slots, thread.slot, Slot.BUSY)
    thread.job = job
    thread.worker.postMessage(job.spec satisfies JobSpec)
  }
}
