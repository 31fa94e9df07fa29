/** Owns choosing who makes one tree of the layers; the kernel's overlayfs is loaded where it is asked for. */
import type { Overlay } from './overlay.js'
import type { MountSpec } from './spec.js'

/** The kernel's mount for `spec`, its upper locked; undefined where the union makes it. Throws MountError. */
export async function overlayOf(spec: MountSpec): Promise<Overlay | undefined> {
  if (spec.driver !== 'overlay') return undefined
  const { Overlay: Kernel } = await import('./overlay.js')
  return new Kernel(spec)
}
