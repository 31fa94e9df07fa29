/** Owns making a container from a finished configuration: names, ids, checks that need the whole. */
import { statSync } from 'node:fs'
import type { ContainerConfig } from './config.js'
import type { Container, Containers } from './containers.js'
import { RuntimeError } from './error.js'
import { emit } from './events.js'
import { checkName, newName } from './names.js'

/**
 * Writes `config` as a new container. An empty name gets a made-up one. Throws NAME_TAKEN, INVALID,
 * MOUNT_SOURCE_MISSING; then nothing was made.
 */
export async function createContainer(containers: Containers, config: ContainerConfig): Promise<Container> {
  check(config)
  const container = await containers.lock(() => {
    const names = containers.names()
    const name = config.name === '' ? newName(n => names.has(n)) : checkName('container', config.name)
    return containers.add({ ...config, name })
  })
  const { root } = config
  if (root.kind === 'image') {
    // The image's layers stay as long as the container does.
    const [{ Store }, { resolveImage }, { pinImage }] = await Promise.all([
      import('../image/store.js'),
      import('../image/images.js'),
      import('../image/pin.js'),
    ])
    const store = Store.at(containers.root)
    const owner = `container ${container.config.name}`
    await pinImage(store, resolveImage(store, root.id), owner, { pid: null, name: pinName(config.id) })
  }
  emit(containers.root, container, 'create')
  return container
}

/** The name of the pin that keeps a container's image. */
export function pinName(id: string): string {
  return `container-${id}`
}

function check(config: ContainerConfig): void {
  if (config.args.length === 0)
    throw new RuntimeError('INVALID', 'no command was given, and the image has none of its own')
  if (!config.workdir.startsWith('/')) throw new RuntimeError('INVALID', `workdir ${config.workdir}: must be absolute`)
  const { root } = config
  if (root.kind === 'directory') {
    const st = statSync(root.path, { throwIfNoEntry: false })
    if (st === undefined) throw new RuntimeError('INVALID', `rootfs ${root.path}: does not exist`)
    if (!st.isDirectory()) throw new RuntimeError('INVALID', `rootfs ${root.path}: is no directory`)
  }
  if (config.runtime !== '')
    throw new RuntimeError(
      'UNSUPPORTED',
      `--runtime ${config.runtime}: containers are run by Lamina itself; OCI runtimes are not driven yet`,
    )
  for (const m of config.mounts) {
    if (m.kind === 'image')
      throw new RuntimeError(
        'UNSUPPORTED',
        `mount ${m.source} at ${m.destination}: images as mounts are not supported yet; 'lamina mount' it and bind the directory`,
      )
    if (!m.destination.startsWith('/') || m.destination === '/')
      throw new RuntimeError('INVALID', `mount at ${m.destination}: must be an absolute path below /`)
    if (m.destination.split('/').includes('..'))
      throw new RuntimeError('INVALID', `mount at ${m.destination}: '..' in it`)
    if (m.kind === 'volume') checkName('volume', m.source)
    if (m.kind === 'bind' && m.copyUp !== true && statSync(m.source, { throwIfNoEntry: false }) === undefined)
      throw new RuntimeError('MOUNT_SOURCE_MISSING', `mount ${m.source} at ${m.destination}: does not exist`)
  }
  const seen = new Set<string>()
  for (const { destination } of config.mounts) {
    if (seen.has(destination)) throw new RuntimeError('INVALID', `mount at ${destination}: given twice`)
    seen.add(destination)
  }
}
