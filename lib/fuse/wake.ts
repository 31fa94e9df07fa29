/**
 * Owns the bell of a serving thread: other threads ring it to be noticed while it blocks in poll(2) or is busy serving.
 * A counter in shared memory is looked at after each request (no system call); the eventfd ends a poll.
 * Invariant: the counter rises before the eventfd is written, so a ring is never lost between the two.
 */
import { eventfd, eventSignal } from '../sys/event.js'

export interface Wake {
  /** [0] rises with each ring. */
  readonly counter: Int32Array
  readonly eventfd: number
}

export function createWake(): Wake {
  const fd = eventfd()
  return { counter: new Int32Array(new SharedArrayBuffer(4)), eventfd: fd }
}

export function ring(wake: Wake): void {
  Atomics.add(wake.counter, 0, 1)
  eventSignal(wake.eventfd)
}

/** State of a helper thread's slot in shared memory (jobs.ts). */
export const Slot = { IDLE: 0, BUSY: 1, DONE: 2, GONE: 3 } as const

/** What a helper thread is started with: its slot is `slots[slot]` (state) and `slots[slot + 1]` (result). */
export interface JobWorkerData {
  readonly wake: Wake
  readonly slots: Int32Array
  readonly slot: number
}
