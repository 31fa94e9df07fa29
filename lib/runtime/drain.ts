/** Owns the last of a process's output: how long it is waited for once the process has ended. */
import type { Stdio } from './streams.js'

/** What still writes after its process has ended is waited for no longer than this, in milliseconds. */
const DRAIN_LIMIT = 10_000

/**
 * For when the process has ended: resolved when its output has been read to the end or, where others hold the pipes, when
 * nothing has come for `quiet` ms.
 */
export async function drained({ ended, received }: Stdio, quiet: number): Promise<void> {
  const last = Date.now() + DRAIN_LIMIT
  const state = { over: false }
  const end = ended.then(() => (state.over = true))
  for (let before = -1; !state.over && before !== received() && Date.now() < last;) {
    before = received()
    await Promise.race([end, new Promise(resolve => setTimeout(resolve, quiet).unref())])
    // What came while this process was held up is read before this: a late timer must not cut it off.
    await new Promise(resolve => setImmediate(resolve))
  }
}
