/** Owns removing a container, running ones only by force. */
import type { Container, Containers } from './containers.js'
import { emit } from './events.js'
import { RuntimeError } from './error.js'

export interface RemoveOptions {
  /** Kill it first if it runs. */
  force?: boolean
  /** Its anonymous volumes too. */
  volumes?: boolean
}

/** Afterwards the container is gone. Throws WRONG_STATE for a running one without `force`. */
export async function removeContainer(
  containers: Containers,
  container: Container,
  options: RemoveOptions = {},
): Promise<void> {
  // Alone with it: whoever would start it at this moment finds it gone, or it is found running.
  const removed = (): Promise<boolean | undefined> =>
    containers.alone(container.id, async now => {
      if (now.state.status === 'running') return false
      await containers.remove(now)
      return true
    })
  while ((await removed()) === false) {
    if (options.force !== true)
      throw new RuntimeError('WRONG_STATE', `rm ${container.config.name}: it is running; stop it first, or use -f`)
    const { stopContainer } = await import('./stop.js')
    await stopContainer(containers, container, 9, 0)
  }
  emit(containers.root, container, 'destroy')
  if (options.volumes !== true) return
  const own = container.config.mounts.filter(m => m.kind === 'volume' && /^[0-9a-f]{64}$/.test(m.source))
  if (own.length === 0) return
  const { removeVolume } = await import('./volumes.js')
  // Another container may have come to it by --volumes-from.
  const used = containers.volumes()
  for (const m of own)
    if (!used.has(m.source))
      try {
        removeVolume(containers.root, m.source)
      } catch (error) {
        if ((error as RuntimeError).code !== 'NO_SUCH_VOLUME') throw error
      }
}
