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
  if (config.volumesFrom !== undefined) {
    const { inheritMounts } = await import('./volumes-from.js')
    await inheritMounts(containers, config, config.volumesFrom)
  }
  for (const link of config.links ?? []) link.id = (await containers.find(link.name)).id
  check(config)
  if (config.runtime !== '') {
    const { findRuntime } = await import('./oci-runtime.js')
    findRuntime(config.runtime)
  }
  await findImages(containers, config)
  const container = await containers.lock(() => {
    const names = containers.names()
    const name = config.name === '' ? newName(n => names.has(n)) : checkName('container', config.name)
    return containers.add({ ...config, name })
  })
  await pinImages(containers, container)
  emit(containers.root, container, 'create')
  return container
}

/** Finds the images that are to be mounted; from here on each is meant by its id. Throws ImageError. */
async function findImages({ root }: Containers, config: ContainerConfig): Promise<void> {
  const wanted = config.mounts.filter(m => m.kind === 'image')
  if (wanted.length === 0) return
  const [{ Store }, { resolveImage }] = await Promise.all([import('../image/store.js'), import('../image/images.js')])
  const store = Store.open(root)
  for (const m of wanted) m.image = resolveImage(store, m.source).id
}

/** The images of its root and its mounts stay as long as the container does. */
async function pinImages({ root }: Containers, { id, config }: Container): Promise<void> {
  const ids = imagesOf(config)
  if (ids.length === 0) return
  const [{ Store }, { resolveImage }, { pinImage }] = await Promise.all([
    import('../image/store.js'),
    import('../image/images.js'),
    import('../image/pin.js'),
  ])
  const store = Store.at(root)
  const names = pinNames(id, config)
  for (const [n, image] of ids.entries())
    await pinImage(store, resolveImage(store, image), `container ${config.name}`, { pid: null, name: names[n] ?? '' })
}

function imagesOf({ root, mounts }: ContainerConfig): string[] {
  return [...(root.kind === 'image' ? [root.id] : []), ...mounts.flatMap(m => m.image ?? [])]
}

/** The names of the pins that keep a container's images. */
export function pinNames(id: string, config: ContainerConfig): string[] {
  return imagesOf(config).map((_, n) => (n === 0 ? `container-${id}` : `container-${id}-${n}`))
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
  for (const m of config.mounts) {
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
