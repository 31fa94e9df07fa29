/** Owns the Host of a filesystem driven in process: jobs run in this thread, when a call says PENDING. */
import { runJob, type JobSpec } from '../../lib/sys/job.js'
import { PENDING, type Host, type Job, type NodeId } from '../../lib/union/filesystem.js'

export interface HostOptions {
  readonly passthrough: boolean
  readonly writeback?: boolean
  /** Runs the jobs instead. */
  readonly runJob?: (spec: JobSpec) => number
}

export class TestHost implements Host {
  readonly passthrough: boolean
  readonly writeback: boolean
  readonly dontMask = true
  readonly messages: string[] = []
  readonly #jobs = new Set<Job>()
  readonly #runJob: (spec: JobSpec) => number

  constructor(options: HostOptions) {
    this.passthrough = options.passthrough
    this.writeback = options.writeback ?? false
    this.#runJob = options.runJob ?? runJob
  }

  defer(job: Job): typeof PENDING {
    this.#jobs.add(job)
    return PENDING
  }

  /** Runs what was deferred. False when there was nothing. */
  runJobs(): boolean {
    const jobs = [...this.#jobs]
    this.#jobs.clear()
    for (const job of jobs) job.done(this.#runJob(job.spec))
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
