/** Owns what of an image a mount stands on: `imageLowers`, in the form that mount specs take (topmost first). */
import { ensureChain } from './chain.js'
import type { StoredImage } from './images.js'
import type { Store } from './store.js'

export interface IndexLower {
  readonly kind: 'index'
  /** The EROFS index, and the directory its redirects lead into. Absolute, text. */
  readonly path: string
  readonly objects: string
}

/**
 * The lowers of an image: one, the flattened index of all its layers. Made now if its cache is gone. Pin the image
 * (pin.ts) for as long as the mount lives. Throws ImageError, FlattenError.
 */
export function imageLowers(store: Store, image: StoredImage): IndexLower[] {
  const path = ensureChain(
    store,
    store.tmp,
    image.layers.map(l => l.diffID),
  )
  return [{ kind: 'index', path, objects: store.objects }]
}
