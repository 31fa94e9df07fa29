/**
 * Owns chains/: the flattened index of a stack of layers, which is what gets mounted: one lower, however many layers.
 * It is a cache: made when an image comes in, made again when it is missing. Beside it, for the rare layer whose names
 * lead through symlinks of the layers below it, that layer's index as it is meant there (lib/layer/settle.ts).
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { type ChainID, chainOf, chainsOf, type DiffID } from '../digest.js'
import { writeIndex } from '../layer/erofs-write.js'
import { applyLayer, flatten } from '../layer/flatten.js'
import { IndexedLayer, openIndex } from '../layer/indexed.js'
import type { Layer } from '../layer/layer.js'
import { isUnsettled, settle } from '../layer/settle.js'
import type { TreeInode } from '../layer/tree.js'
import { ImageError } from './error.js'
import { type Store, writeAtomic } from './store.js'

/**
 * Path of the flattened index of `layers` (base first), made now if the store has none; `tmp` is a directory for the
 * temporary file on the same filesystem. No layers: an index of an empty root. Throws ImageError, FlattenError.
 */
export function ensureChain(store: Store, tmp: string, layers: readonly DiffID[]): string {
  const path = chainPath(store, layers)
  if (existsSync(path)) return path
  // The longest part that is flat already saves its layers.
  const flat = chainsOf(layers).findLastIndex(chain => existsSync(store.chain(chain)))
  return makeChain(store, tmp, layers, flat + 1)
}

/** Makes the flattened index and all settled ones of `layers` again from their own. Throws as ensureChain. */
export function remakeChain(store: Store, tmp: string, layers: readonly DiffID[]): string {
  return makeChain(store, tmp, layers, 0)
}

function chainPath(store: Store, layers: readonly DiffID[]): string {
  const chain = chainOf(layers)
  return chain === undefined ? join(store.root, 'chains/scratch') : store.chain(chain)
}

/** Starts from the flattened index of the first `done` layers. */
function makeChain(store: Store, tmp: string, layers: readonly DiffID[], done: number): string {
  const tree = flatten([])
  const apply = (index: IndexedLayer): void => {
    try {
      applyLayer(tree, index)
    } finally {
      index.close()
    }
  }
  if (done > 0)
    apply(openIndex(bytesOf(chainPath(store, layers.slice(0, done))), bytesOf(store.objects), { whole: true }))
  for (let n = done + 1; n <= layers.length; n++) apply(openSettled(store, tmp, layers.slice(0, n), tree))
  const path = chainPath(store, layers)
  writeAtomic(path, writeIndex(tree), tmp)
  return path
}

/** The last of `layers` as it lies on `base`, the tree of those before it; kept when it is not the layer's own index. */
function openSettled(store: Store, tmp: string, layers: readonly DiffID[], base: TreeInode): IndexedLayer {
  const index = openIndexOf(store, layers.at(-1) as DiffID)
  try {
    if (!isUnsettled(base, index)) return index
    const bytes = writeIndex(settle(base, index))
    writeAtomic(store.settled(chainOf(layers) as ChainID), bytes, tmp)
    return new IndexedLayer(bytes, bytesOf(store.objects))
  } catch (error) {
    index.close()
    throw error
  }
}

/** Path of a layer's index as it is meant on top of the stack `chain`, which it is the last of. */
export function layerIndex(store: Store, chain: ChainID, diffID: DiffID): string {
  const settled = store.settled(chain)
  return existsSync(settled) ? settled : store.layer(diffID)
}

/**
 * The indexes of `layers` (base first, as the result), whiteouts and all, each as it is meant on those before it. `open`
 * makes the layer of an index. Throws ImageError BLOB_MISSING when the store has none.
 */
export function openLayers<L extends Layer>(store: Store, layers: readonly DiffID[], open: (path: string) => L): L[] {
  return chainsOf(layers).map((chain, n) => {
    const diffID = layers[n] as DiffID
    const path = layerIndex(store, chain, diffID)
    if (!existsSync(path)) throw missingLayer(diffID)
    return open(path)
  })
}

function openIndexOf(store: Store, diffID: DiffID): IndexedLayer {
  const path = store.layer(diffID)
  if (!existsSync(path)) throw missingLayer(diffID)
  return openIndex(bytesOf(path), bytesOf(store.objects), { whole: true })
}

function missingLayer(diffID: DiffID): ImageError {
  return new ImageError('BLOB_MISSING', `open layer ${diffID}: the store does not have it`, { diffID })
}
