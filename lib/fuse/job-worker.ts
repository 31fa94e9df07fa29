/**
 * Owns the helper thread's side of jobs.ts: takes a job from its port, runs it, leaves the result in its slot, rings.
 * Ends itself after IDLE_MS without work.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { runJob, type JobSpec } from '../sys/job.js'
import { E } from '../errno.js'
import { ring, Slot, type JobWorkerData } from './wake.js'

const IDLE_MS = 10_000
const { wake, slots, slot } = workerData as JobWorkerData
const port = parentPort
if (port === null) throw new Error('job-worker is a worker thread')

let timer: NodeJS.Timeout | undefined
port.on('message', (message: JobSpec | 'idle') => {
  clearTimeout(timer)
  if (message === 'idle') {
    timer = setTimeout(() => {
      if (Atomics.compareExchange(slots, slot, Slot.IDLE, Slot.GONE) === Slot.IDLE) port.close()
    }, IDLE_MS)
    return
  }
  let result: number = -E.EIO
  try {
    result = runJob(message)
  } finally {
    slots[slot + 1] = result
    Atomics.store(slots, slot, Slot.DONE)
    ring(wake)
  }
})
