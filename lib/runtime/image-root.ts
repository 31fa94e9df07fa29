/** Owns which layers a container's root is made of: topmost first, as union code lists them. */
import type { LowerSpec } from '../mount/spec.js'
import type { ContainerRoot } from './config.js'

export function lowersOf(root: string, of: ContainerRoot): Promise<LowerSpec[]> {
  void root
  if (of.kind === 'directory') return Promise.resolve([{ kind: 'directory', path: of.path }])
  throw new Error('images: not yet')
}
