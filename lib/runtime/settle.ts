/** Owns what becomes of a container that has ended: removed when it was to be, with its anonymous volumes. */
import type { Container, Containers } from './containers.js'

export async function settle(containers: Containers, { id }: Container): Promise<void> {
  const now = containers.load(id)
  if (now === undefined || !now.config.autoRemove || now.state.status === 'running') return
  const { removeContainer } = await import('./remove.js')
  await removeContainer(containers, now, { volumes: true })
}
