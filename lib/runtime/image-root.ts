/** Owns which layers a container's root is made of: topmost first, as union code lists them. */
import type { DiffID } from '../digest.js'
import type { LowerSpec } from '../mount/spec.js'
import type { ContainerRoot } from './config.js'

/** For an image one lower, its flattened index (made now if a gc has taken it). Throws ImageError. */
export async function lowersOf(root: string, of: ContainerRoot): Promise<LowerSpec[]> {
  if (of.kind === 'directory') return [{ kind: 'directory', path: of.path }]
  const [{ Store }, { ensureChain }] = await Promise.all([import('../image/store.js'), import('../image/chain.js')])
  const store = Store.at(root)
  return [{ kind: 'index', path: ensureChain(store, store.tmp, of.layers as DiffID[]), objects: store.objects }]
}
