/**
 * Owns what a container's network is at its start: none, the host's, another container's, a place on a bridge, or for an
 * ordinary user's container a way out by a program (user-network.ts).
 * Invariant: `release` gives back all that `connectNetwork` took; it may be called twice.
 */
import type { ContainerConfig, NetworkState } from '../config.js'
import type { Containers } from '../containers.js'
import { isRootless } from '../rootless.js'

export interface ConnectedNetwork {
  readonly state: NetworkState | undefined
  /** A namespace made beforehand for the process to join. */
  readonly namespacePath: string | undefined
  /** DNS servers to ask where the host's own cannot be reached. */
  readonly nameservers: readonly string[]
  /** The process runs in it: what to keep of it in the state. */
  attached(pid: number): Promise<NetworkState | undefined>
  release(): Promise<void>
}

const nothing: ConnectedNetwork = {
  state: undefined,
  namespacePath: undefined,
  nameservers: [],
  attached: () => Promise.resolve(undefined),
  release: () => Promise.resolve(),
}

/** Throws PORT_TAKEN, NO_SUCH_NETWORK, NOT_PERMITTED, UNSUPPORTED; then nothing was taken. */
export async function connectNetwork(
  containers: Containers,
  config: ContainerConfig,
  warn: (line: string) => void,
): Promise<ConnectedNetwork> {
  const { network } = config
  if (typeof network === 'string' || 'container' in network) return nothing
  if (isRootless()) {
    const { joinUserNetwork } = await import('./user-network.js')
    return joinUserNetwork(containers, config, network.network, warn)
  }
  const { joinBridge } = await import('./bridge.js')
  return joinBridge(containers, config, network.network, warn)
}
