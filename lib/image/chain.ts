/**
 * Owns chains/: the flattened index of a stack of layers, which is what gets mounted: one lower, however many layers.
 * It is a cache: made when an image comes in, made again when it is missing.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { chainOf, type DiffID } from '../digest.js'
import { writeIndex } from '../layer/erofs-write.js'
import { applyLayer, flatten } from '../layer/flatten.js'
import { type IndexedLayer, openIndex } from '../layer/indexed.js'
import { ImageError } from './error.js'
import { type Store, writeAtomic } from './store.js'

/**
 * Path of the flattened index of `layers` (base first), made now if the store has none; `tmp` is a directory for the
 * temporary file on the same filesystem. No layers: an index of an empty root. Throws ImageError, FlattenError.
 */
export function ensureChain(store: Store, tmp: string, layers: readonly DiffID[]): string {
  const chain = chainOf(layers)
  const path = chain === undefined ? join(store.root, 'chains/scratch') : store.chain(chain)
  if (existsSync(path)) return path
  const tree = flatten([])
  // The longest part that is flat already saves its layers.
  let done = 0
  for (let n = layers.length - 1; n > 0 && done === 0; n--) {
    const below = chainOf(layers.slice(0, n))
    if (below !== undefined && existsSync(store.chain(below))) {
      apply(tree, openIndex(bytesOf(store.chain(below)), bytesOf(store.objects)))
      done = n
    }
  }
  for (const layer of layers.slice(done)) apply(tree, openLayer(store, layer))
  writeAtomic(path, writeIndex(tree), tmp)
  return path

  function apply(to: typeof tree, index: IndexedLayer): void {
    try {
      applyLayer(to, index)
    } finally {
      index.close()
    }
  }
}

/** The index of one layer, whiteouts and all. Throws ImageError BLOB_MISSING when the store has none. */
export function openLayer(store: Store, diffID: DiffID): IndexedLayer {
  const path = store.layer(diffID)
  if (!existsSync(path))
    throw new ImageError('BLOB_MISSING', `open layer ${diffID}: the store does not have it`, { diffID })
  return openIndex(bytesOf(path), bytesOf(store.objects))
}
