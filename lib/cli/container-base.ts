/** Owns what a container stands on, opened for reading: its lowers (topmost first) and the image, when it is one. */
import { bytesOf } from '../bytes.js'
import type { DiffID } from '../digest.js'
import type { StoredImage } from '../image/images.js'
import type { Store } from '../image/store.js'
import type { Layer } from '../layer/layer.js'
import type { ContainerRoot } from '../runtime/config.js'
import type { Container } from '../runtime/containers.js'

/** The caller closes the layers. `image` is undefined for a directory, and for an image that is gone from the store. */
export async function containerBase(
  store: Store,
  root: ContainerRoot,
): Promise<{ lowers: Layer[]; image: StoredImage | undefined }> {
  if (root.kind === 'directory') {
    const { openDirectoryLayer } = await import('../layer/directory.js')
    return { lowers: [openDirectoryLayer(bytesOf(root.path))], image: undefined }
  }
  const [{ ensureChain }, { openIndex }, { resolveImage }] = await Promise.all([
    import('../image/chain.js'),
    import('../layer/indexed.js'),
    import('../image/images.js'),
  ])
  const image = resolveImage(store, root.id)
  const path = ensureChain(store, store.tmp, root.layers as DiffID[])
  return { lowers: [openIndex(bytesOf(path), bytesOf(store.objects))], image }
}

/** What a container changed, over its `lowers`: its upper, where the mountpoints that its mounts needed are no change. */
export async function containerUpper(container: Container, lowers: readonly Layer[]): Promise<Layer> {
  await writeBack(container)
  const { directory, config } = container
  const [{ openUpperLayer }, { tracesOf }, { mountpointsOf }] = await Promise.all([
    import('../layer/copies.js'),
    import('../diff/traces.js'),
    import('../runtime/default-mounts.js'),
  ])
  const upper = openUpperLayer(bytesOf(directory))
  try {
    upper.hidden = tracesOf(upper, lowers, mountpointsOf(config).map(bytesOf))
    return upper
  } catch (error) {
    upper.close()
    throw error
  }
}

/**
 * Without passthrough the kernel keeps what a file that is still open was given: it hands it over. Where it cannot be asked
 * (an ordinary user outside of the container's namespace) the upper is as it is found.
 */
async function writeBack({ state }: Container): Promise<void> {
  if (state.status !== 'running' || state.pid === 0) return
  const [{ close, open, syncfsInThread }, { O }] = await Promise.all([
    import('../sys/file.js'),
    import('../sys/constants.js'),
  ])
  const fd = open(`/proc/${state.pid}/root`, O.RDONLY | O.DIRECTORY | O.CLOEXEC)
  if (fd < 0) return
  await syncfsInThread(fd)
  close(fd)
}
