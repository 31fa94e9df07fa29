/** Owns what becomes of a container that has ended: removed when it was to be, with its anonymous volumes. */
import { rmSync } from 'node:fs'
import type { Container, Containers } from './containers.js'

export async function settle(containers: Containers, { id, runDirectory }: Container): Promise<void> {
  const now = containers.load(id)
  // Removed before it could start: nobody else knows of what was prepared for it.
  if (now === undefined) return rmSync(runDirectory, { recursive: true, force: true })
  if (!now.config.autoRemove || now.state.status === 'running') return
  const { removeContainer } = await import('./remove.js')
  await removeContainer(containers, now, { volumes: true })
}
