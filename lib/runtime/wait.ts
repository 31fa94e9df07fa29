/** Owns waiting for a container's end from another process. */
import { close } from '../sys/file.js'
import { gone, pidfdOpen } from '../sys/process.js'
import type { Container, Containers } from './containers.js'

/** Resolves with the exit code once it does not run any more (its restarts are waited for too). */
export async function waitFor(containers: Containers, { id, state }: Container): Promise<number> {
  let last = state
  while (last.status === 'running') {
    // The supervisor ends after the state is written; it is asked by its pidfd, not by its pid.
    const pidfd = pidfdOpen(last.supervisor)
    if (pidfd >= 0) {
      await gone(pidfd, 1000)
      close(pidfd)
    }
    const loaded = containers.load(id)
    if (loaded === undefined) return last.exitCode
    const now = await containers.reconcile(loaded)
    if (now === undefined) return 137
    last = now.state
  }
  return last.exitCode
}
