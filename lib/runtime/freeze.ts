/** Owns pausing a container and letting it go on. */
import { Cgroup } from './cgroup/cgroup.js'
import type { Container, Containers } from './containers.js'
import { RuntimeError } from './error.js'
import { emit } from './events.js'
import { liveStatus } from './status.js'

/** Throws WRONG_STATE unless it is running (to pause) or paused (to go on). */
export async function freezeContainer(containers: Containers, container: Container, frozen: boolean): Promise<void> {
  const verb = frozen ? 'pause' : 'unpause'
  const status = liveStatus(container)
  if (status !== (frozen ? 'running' : 'paused'))
    throw new RuntimeError('WRONG_STATE', `${verb} ${container.config.name}: it is ${status}`)
  await Cgroup.at(container.state.cgroup).freeze(frozen)
  emit(containers.root, container, verb)
}
