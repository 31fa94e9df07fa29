/** Owns finding base images for a build: the store first, then the registry. */
import type { FindImage } from '../build/image-store.js'
import type { StoredImage } from '../image/images.js'
import type { Store } from '../image/store.js'
import type { Context } from './command.js'
import { importProgress } from './image-progress.js'

/** With `pull` the registry is asked first; an image of another platform in the store is no hit. */
export function finder(store: Store, { stderr }: Pick<Context, 'stderr'>): FindImage {
  return async (reference, platform, pull) => {
    const { resolveImage } = await import('../image/images.js')
    if (!pull) {
      const local = found(() => resolveImage(store, reference))
      if (local && fits(local, platform)) return local
    }
    const [{ pullImage }, { formatPlatform }] = await Promise.all([
      import('../image/pull.js'),
      import('../build/platform.js'),
    ])
    const progress = importProgress(stderr, !stderr.isTTY)
    try {
      const { image } = await pullImage(store, reference, { platform: formatPlatform(platform), events: progress })
      return image
    } finally {
      progress.close()
    }
  }
}

function found(resolve: () => StoredImage): StoredImage | undefined {
  try {
    return resolve()
  } catch (error) {
    if ((error as { code?: string }).code === 'IMAGE_NOT_FOUND') return undefined
    throw error
  }
}

function fits(image: StoredImage, platform: { architecture: string; variant?: string }): boolean {
  const { architecture } = image.config
  return architecture === undefined || architecture === '' || architecture === platform.architecture
}
