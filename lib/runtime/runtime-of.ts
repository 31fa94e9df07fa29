/** Owns telling who runs a container: this program, or the OCI runtime that it asks for (loaded only then). */
import type { Container } from './containers.js'
import type { OciRuntime } from './oci-runtime.js'

/** Undefined: no other runtime. Throws INVALID when the one asked for is not there. */
export async function runtimeOf(container: Container): Promise<OciRuntime | undefined> {
  if (container.config.runtime === '') return undefined
  const { OciRuntime } = await import('./oci-runtime.js')
  return new OciRuntime(container)
}
