/** Owns giving an image another name. */
import { resolveImage, type StoredImage } from './images.js'
import { nameImage } from './index-json.js'
import { ImageError } from './error.js'
import { formatReference, parseReference } from './reference.js'
import type { Store } from './store.js'

/** Makes `target` mean the image that `source` names. Throws ImageError IMAGE_NOT_FOUND, REFERENCE_INVALID. */
export async function tagImage(store: Store, source: string, target: string): Promise<StoredImage> {
  const reference = parseReference(target)
  if (reference.digest !== undefined)
    throw new ImageError('REFERENCE_INVALID', `tag ${target}: a new name cannot have a digest`, { reference: target })
  const lock = await store.lock('shared')
  try {
    const image = resolveImage(store, source)
    const name = formatReference(reference)
    await nameImage(store, { digest: image.digest, size: store.blobSize(image.digest) ?? 0 }, [name])
    return { ...image, names: [...new Set([...image.names, name])].sort() }
  } finally {
    lock.release()
  }
}
