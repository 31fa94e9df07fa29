/** Owns --volumes-from: a container's mounts become another's too. */
import type { ContainerConfig } from './config.js'
import type { Containers } from './containers.js'
import { RuntimeError } from './error.js'

/**
 * Adds to `config` the volumes, binds and images that the containers `from` (`NAME[:ro|rw]`) have, at the same places. A
 * place that was asked for otherwise stays; one that only the image asks for gives way. Throws NO_SUCH_CONTAINER, INVALID.
 */
export async function inheritMounts(
  containers: Containers,
  config: ContainerConfig,
  from: readonly string[],
): Promise<void> {
  const at = new Map(config.mounts.map(m => [m.destination, m]))
  for (const text of from) {
    const [name = '', mode = ''] = text.split(':')
    const words = mode.split(',').filter(w => w !== '' && w !== 'z' && w !== 'Z')
    if (name === '' || words.some(w => w !== 'ro' && w !== 'rw'))
      throw new RuntimeError('INVALID', `--volumes-from ${text}: is not NAME[:ro|rw]`)
    const other = await containers.find(name)
    for (const m of other.config.mounts) {
      if (m.kind === 'tmpfs') continue
      const there = at.get(m.destination)
      if (there !== undefined && there.implied !== true) continue
      const readOnly = words.includes('ro') && !m.options.includes('ro')
      at.set(m.destination, { ...m, implied: false, options: readOnly ? [...m.options, 'ro'] : m.options })
    }
  }
  config.mounts = [...at.values()]
}
