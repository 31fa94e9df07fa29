/**
 * Owns what a container's network is at its start: none, the host's, another container's, or a place on a bridge.
 * Invariant: `release` gives back all that `connectNetwork` took; it may be called twice.
 */
import { RuntimeError } from '../error.js'
import type { ContainerConfig, NetworkState } from '../config.js'
import type { Containers } from '../containers.js'

export interface ConnectedNetwork {
  readonly state: NetworkState | undefined
  /** A namespace made beforehand for the process to join. */
  readonly namespacePath: string | undefined
  /** The process runs in it: publishes ports. Returns the state to keep. */
  attached(pid: number): Promise<NetworkState | undefined>
  release(): Promise<void>
}

const nothing: ConnectedNetwork = {
  state: undefined,
  namespacePath: undefined,
  attached: () => Promise.resolve(undefined),
  release: () => Promise.resolve(),
}

export function connectNetwork(containers: Containers, config: ContainerConfig): Promise<ConnectedNetwork> {
  const { network } = config
  if (typeof network === 'string' || 'container' in network) return Promise.resolve(nothing)
  void containers
  throw new RuntimeError('UNSUPPORTED', `network ${network.network}: bridges are not built yet`)
}
