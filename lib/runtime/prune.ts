/**
 * Owns removing what no container needs: containers that do not run, volumes, networks. Images are lib/image/gc.ts's.
 * Invariant: what a container names, running or not, stays; nobody makes a container between the look and the removal.
 */
import type { Container, Containers } from './containers.js'
import { RuntimeError } from './error.js'
import { sizeBelow } from './size.js'

/** What a filter of a prune may ask about. */
export interface Prunable {
  /** ISO 8601. */
  readonly created: string
  readonly labels: Readonly<Record<string, string>>
}

export interface Pruned {
  /** IDs of containers, names of the rest. */
  readonly names: string[]
  readonly bytes: number
}

/** Removes containers that do not run and that `test` lets go. Their volumes stay. */
export async function pruneContainers(containers: Containers, test: (c: Prunable) => boolean): Promise<Pruned> {
  const { removeContainer } = await import('./remove.js')
  const names: string[] = []
  let bytes = 0
  for (const container of await containers.all()) {
    if (container.state.status === 'running' || !test(container.config)) continue
    const size = sizeBelow(container.directory)
    try {
      await removeContainer(containers, container)
    } catch (error) {
      // Started meanwhile: then it stays.
      if (error instanceof RuntimeError && error.code === 'WRONG_STATE') continue
      throw error
    }
    names.push(container.id)
    bytes += size
  }
  return { names, bytes }
}

/** Removes volumes that no container has: those that were made for one and outlived it; with `all`, every one. */
export async function pruneVolumes(
  containers: Containers,
  test: (v: Prunable) => boolean,
  all: boolean,
): Promise<Pruned> {
  const { listVolumes, removeVolume, volumeData } = await import('./volumes.js')
  const { root } = containers
  return containers.lock(() => {
    const used = containers.volumes()
    const gone = listVolumes(root).filter(v => (all || v.anonymous) && !used.has(v.name) && test(v))
    let bytes = 0
    for (const { name } of gone) {
      bytes += sizeBelow(volumeData(root, name))
      removeVolume(root, name)
    }
    return { names: gone.map(v => v.name), bytes }
  })
}

/** Removes networks that no container has, `bridge` excepted. */
export async function pruneNetworks(containers: Containers, test: (n: Prunable) => boolean): Promise<Pruned> {
  const [{ deleteNetwork, listNetworks, lockNetworks, readLeases }, { isOnNetwork }] = await Promise.all([
    import('./network/networks.js'),
    import('./filters.js'),
  ])
  const { root } = containers
  const names = await containers.lock(() =>
    lockNetworks(root, () => {
      const all = everyone(containers)
      const gone = listNetworks(root)
        .filter(n => n.name !== 'bridge' && test(n) && Object.keys(readLeases(root, n.name)).length === 0)
        .map(n => n.name)
        .filter(name => !all.some(c => isOnNetwork(c, name)))
      for (const name of gone) deleteNetwork(root, name)
      return gone
    }),
  )
  return { names, bytes: 0 }
}

/** As they are on disk. The caller holds the lock, so nothing is swept, which takes it too. */
function everyone(containers: Containers): Container[] {
  return [...containers.names().values()].flatMap(id => containers.load(id) ?? [])
}
