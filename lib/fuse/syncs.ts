/**
 * Owns the choice where an fsync is done: by the serving thread itself or by a helper thread (jobs.ts).
 * A helper takes two wake-ups, which made an fsync of 1.4 ms one of 2.0 ms, and its start some 95 ms of processor time. The
 * serving thread answers nobody else meanwhile. So it syncs itself what is brief, as long as nobody is seen to wait for it.
 * Invariant: what may hold much unwritten data goes to a helper. The kernel tells how much a file has (Linux 6.5); before, a
 * large file that was not synced a moment ago is taken to have it.
 */
import { unwrittenPages } from '../sys/file.js'
import type { JobSpec } from '../sys/job.js'
import { fstat, Stat } from '../sys/stat.js'
import type { NodeId } from '../union/filesystem.js'
import { Op } from './protocol.js'

/** Milliseconds that others may be kept waiting, on average. */
const BRIEF = 4
/** One sync that took longer says no more than this: what was written before all of it may have had to go first. */
const SLOW = 4 * BRIEF
/** A disk that was found slow is tried again after so many syncs. */
const PATIENCE = 64
/** So many syncs go to helpers after somebody was seen waiting: then syncs may go on side by side. */
const CROWDED = 32
/** Bytes. So much unwritten data is soon on disk. */
const SMALL = 8 << 20
const PAGE = 4096
/** Milliseconds since a large file's last sync, in which not much can have been written. */
const LATELY = 1000

/** Nobody waits for the answer to these. */
const unanswered: ReadonlySet<number> = new Set([Op.RELEASE, Op.RELEASEDIR, Op.FORGET, Op.BATCH_FORGET])

export class Syncs {
  readonly #st = new Stat()
  #average = 0
  #refused = 0
  #crowded = 0
  /** When a helper was given one for slowness; 0: none is out. */
  #sent = 0
  #node: NodeId = 0
  #ended = -Infinity
  #justDone = false

  /** Whether the serving thread does the job that `node` waits for. */
  here(spec: JobSpec, node: NodeId, now: number): boolean {
    if (spec.op !== 'fsync') return false
    if (this.#crowded > 0) {
      this.#crowded--
      return false
    }
    if (this.#average > BRIEF && ++this.#refused % PATIENCE !== 0) {
      this.#sent = now
      return false
    }
    if (node === this.#node && now - this.#ended < LATELY) return true
    if (fstat(spec.fd, this.#st) < 0) return false
    if (this.#st.size <= SMALL) return true
    const unwritten = unwrittenPages(spec.fd)
    return unwritten >= 0 && unwritten * PAGE <= SMALL
  }

  /** The serving thread has done one. */
  done(node: NodeId, began: number, now: number): void {
    this.#took(now - began)
    this.#sent = 0
    this.#justDone = true
    this.helped(node, now)
  }

  #took(milliseconds: number): void {
    this.#average += (Math.min(milliseconds, SLOW) - this.#average) / 4
  }

  /** What was written to `node` before is on disk. A helper's time is an upper bound of what it would have been here. */
  helped(node: NodeId, now: number): void {
    if (this.#sent > 0) this.#took(now - this.#sent)
    this.#sent = 0
    this.#node = node
    this.#ended = now
  }

  /** What the loop found when it looked for the next request: an opcode, or -1 for nothing. */
  next(opcode: number): void {
    if (!this.#justDone) return
    this.#justDone = false
    if (opcode >= 0 && !unanswered.has(opcode)) this.#crowded = CROWDED
  }
}
