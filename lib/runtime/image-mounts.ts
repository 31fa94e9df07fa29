/**
 * Owns images mounted into a container (`--mount type=image`): each one's layers served read-only by a thread of this
 * process as a detached mount, for as long as the container runs.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { close } from '../sys/file.js'
import type { ContainerMount } from './config.js'
import type { Container, Containers } from './containers.js'

export interface ImageMount {
  mount: ContainerMount
  /** The detached mount. */
  fd: number
  /** The place that the spec names as its source: nothing lies there, the fd is what is mounted. */
  path: string
}

export interface ImageMounts {
  list: ImageMount[]
  close(): Promise<void>
}

/** Serves every image mount of the container. Throws ImageError; then none is served. */
export async function openImageMounts(
  { root }: Containers,
  { config, directory, id }: Container,
  log: (line: string) => void,
): Promise<ImageMounts> {
  const list: ImageMount[] = []
  const ends: Promise<void>[] = []
  const finish = async (): Promise<void> => {
    for (const { fd } of list.splice(0)) close(fd)
    await Promise.all(ends.splice(0))
  }
  const wanted = config.mounts.filter(m => m.kind === 'image')
  if (wanted.length === 0) return { list, close: finish }
  const [{ Store }, { resolveImage }, { imageLowers }, { MountServer }] = await Promise.all([
    import('../image/store.js'),
    import('../image/images.js'),
    import('../image/lowers.js'),
    import('../mount/server.js'),
  ])
  const store = Store.at(root)
  try {
    for (const mount of wanted) {
      const lowers = imageLowers(store, resolveImage(store, mount.image ?? mount.source))
      const source = `lamina:${id.slice(0, 12)}:${list.length}`
      const server = await MountServer.startDetached({ lowers, source, readOnly: true, allowOther: true }, { log })
      ends.push(server.ended)
      const path = join(directory, 'images', String(list.length))
      mkdirSync(path, { recursive: true })
      list.push({ mount, fd: server.mountFd, path })
    }
    return { list, close: finish }
  } catch (error) {
    await finish()
    throw error
  }
}
