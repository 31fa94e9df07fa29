/**
 * Owns ending what nobody supervises any more: a container whose supervisor was killed, or whose machine was rebooted.
 * Invariant: idempotent; it may itself be killed at any point and done again.
 */
import { rmSync } from 'node:fs'
import { Cgroup } from './cgroup/cgroup.js'
import { bootId, isAlive, type Container, type Containers } from './containers.js'
import { isRootless } from './rootless.js'
import { runtimeOf } from './runtime-of.js'

/** Kills what is left, removes cgroup, links, leases and socket, and writes the state; removes a `--rm` container. */
export async function sweep(containers: Containers, container: Container): Promise<void> {
  const { state, config, id } = container
  if (state.boot === bootId()) {
    if (isAlive(state.pid, state.pidStart)) process.kill(state.pid, 'SIGKILL')
    const runtime = await runtimeOf(container)
    runtime?.delete()
    if (state.cgroup !== '') {
      const cgroup = Cgroup.at(state.cgroup)
      cgroup.kill()
      await cgroup.freeze(false).catch(() => undefined)
      await cgroup.remove()
    }
  }
  if (state.network?.helper !== undefined) {
    const { endHelper } = await import('./network/user-network.js')
    if (state.boot === bootId()) endHelper(state.network.helper)
  } else if (typeof config.network !== 'string' && 'network' in config.network && !isRootless()) {
    // Also when the state does not say so yet: the lease does.
    const { releaseNetwork } = await import('./network/bridge.js')
    await releaseNetwork(containers.root, config.network.network, id)
  }
  rmSync(container.runDirectory, { recursive: true, force: true })
  if (config.autoRemove) {
    await containers.remove(container)
    return
  }
  containers.writeState(id, {
    ...state,
    status: 'exited',
    pid: 0,
    supervisor: 0,
    exitCode: 137,
    error: 'its supervisor was killed',
    finishedAt: new Date().toISOString(),
    network: undefined,
  })
}
