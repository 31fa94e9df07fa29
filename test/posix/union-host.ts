/** Owns the Host of a filesystem driven in process: jobs run in this thread, when a call says PENDING. */
import { E } from '../../lib/errno.js'
import { copyFileRange, fdatasync, fsync, syncfs } from '../../lib/sys/file.js'
import { PENDING, type Host, type Job, type JobSpec, type NodeId } from '../../lib/union/filesystem.js'

export interface HostOptions {
  readonly passthrough: boolean
  readonly writeback?: boolean
}

export class TestHost implements Host {
  readonly passthrough: boolean
  readonly writeback: boolean
  readonly dontMask = true
  readonly messages: string[] = []
  readonly #jobs = new Set<Job>()

  constructor(options: HostOptions) {
    this.passthrough = options.passthrough
    this.writeback = options.writeback ?? false
  }

  defer(job: Job): typeof PENDING {
    this.#jobs.add(job)
    return PENDING
  }

  /** Runs what was deferred. False when there was nothing. */
  runJobs(): boolean {
    const jobs = [...this.#jobs]
    this.#jobs.clear()
    for (const job of jobs) job.done(runJob(job.spec))
    return jobs.length > 0
  }

  invalidateAttributes(_node: NodeId): void {}

  invalidateNames(): boolean {
    return true
  }

  log(message: string): void {
    this.messages.push(message)
  }
}

/** Does a job's work. 0 or `-errno`. */
function runJob(spec: JobSpec): number {
  switch (spec.op) {
    case 'copy':
      for (let at = 0; at < spec.size;) {
        const n = copyFileRange(spec.from, at, spec.to, at, spec.size - at)
        if (n === -E.EINTR) continue
        if (n < 0) return n
        if (n === 0) return -E.EIO
        at += n
      }
      return 0
    case 'fsync':
      return spec.dataOnly ? fdatasync(spec.fd) : fsync(spec.fd)
    case 'syncfs':
      return syncfs(spec.fd)
  }
}
