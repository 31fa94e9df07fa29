/**
 * Owns a container's place on a bridge: the bridge (made for the first, removed after the last), a veth pair, address
 * and route in a network namespace made beforehand, names of the others in /etc/hosts, and its published ports.
 * Invariant: two containers never have one address; the last one leaves nothing behind.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FsError } from '../../errno.js'
import { close } from '../../sys/file.js'
import { ipv4, Netlink } from '../../sys/netlink.js'
import type { ContainerConfig, NetworkState } from '../config.js'
import type { Containers } from '../containers.js'
import { RuntimeError } from '../error.js'
import type { ConnectedNetwork } from './connect.js'
import {
  findNetwork,
  freeAddress,
  lockNetworks,
  readLeases,
  withFreeSubnet,
  writeLeases,
  type Lease,
  type Leases,
  type Network,
} from './networks.js'
import { forwardPorts, masquerade, unforwardPorts, unmasquerade } from './nat.js'
import { newNamespace, type Namespace } from './namespace.js'
import { publish, wantedPorts, type Published } from './publish.js'

/**
 * Takes an address on the network, and makes a namespace with it. `warn` gets what this machine's packet filter cannot do.
 * Throws PORT_TAKEN, NO_SUCH_NETWORK, NOT_PERMITTED.
 */
export async function joinBridge(
  containers: Containers,
  config: ContainerConfig,
  name: string,
  warn: (line: string) => void,
): Promise<ConnectedNetwork> {
  const { root } = containers
  const namespace = newNamespace()
  let state: NetworkState | undefined
  let published: Published | undefined
  const release = async (): Promise<void> => {
    published?.close()
    published = undefined
    if (namespace.fd >= 0) close(namespace.fd)
    namespace.fd = -1
    const left = state
    state = undefined
    if (left !== undefined) await releaseNetwork(root, config.id, left)
  }
  try {
    const { entered, network } = await lockNetworks(root, () => enterNetwork(root, config, name, namespace, warn))
    state = entered
    published = await publish(wantedPorts(config), state.address)
    state.ports = published.ports
    const why = network.internal ? undefined : forwardPorts(state, network.link)
    if (why !== undefined) warn(`published ports see other machines by this one's address: ${why}`)
  } catch (error) {
    namespace.netlink.close()
    await release()
    throw error
  }
  namespace.netlink.close()
  const kept = state
  return {
    state,
    namespacePath: `/proc/${process.pid}/fd/${namespace.fd}`,
    nameservers: [],
    attached: () => Promise.resolve(kept),
    release,
  }
}

function enterNetwork(
  root: string,
  config: ContainerConfig,
  name: string,
  namespace: Namespace,
  warn: (line: string) => void,
): { entered: NetworkState; network: Network } {
  const leases = readLeases(root, name)
  const host = new Netlink()
  try {
    const { bridge, network } = ensureBridge(host, root, findNetwork(root, name), warn)
    const address = freeAddress(network, leases)
    const link = linkOf(config.id)
    const mac = Buffer.concat([Buffer.from([0x02, 0x4c]), ipv4(address)])
    must(host.addVeth(link, bridge, 'eth0', mac, namespace.fd), `veth ${link}`)
    const inside = must(namespace.netlink.link('eth0'), 'eth0')
    must(namespace.netlink.addAddress(inside, address, network.prefix), `address ${address}`)
    must(namespace.netlink.up(inside), 'eth0 up')
    if (!network.internal) must(namespace.netlink.addDefaultRoute(network.gateway), `route by ${network.gateway}`)
    leases[address] = { id: config.id, names: [config.name, ...config.networkAliases, config.hostname] }
    writeLeases(root, name, leases)
    tellNames(root, leases)
    const macText = mac.toString('hex').replace(/(..)(?=.)/g, '$1:')
    const { prefix, gateway } = network
    return { entered: { name, address, prefix, gateway, mac: macText, link, ports: [] }, network }
  } finally {
    host.close()
  }
}

function must(result: number, what: string): number {
  if (result >= 0) return result
  const error = new FsError(result, 'netlink', what)
  throw new RuntimeError(error.code === 'EPERM' ? 'NOT_PERMITTED' : 'START_FAILED', `network: ${what}: ${error.code}`)
}

/** The bridge's interface and the network as it is up: the first container may find its subnet taken, and move it. */
function ensureBridge(
  host: Netlink,
  root: string,
  wanted: Network,
  warn: (line: string) => void,
): { bridge: number; network: Network } {
  const there = host.link(wanted.link)
  if (there > 0) return { bridge: there, network: wanted }
  return withFreeSubnet(root, wanted, network => {
    must(host.addBridge(network.link), `bridge ${network.link}`)
    const bridge = must(host.link(network.link), network.link)
    must(host.addAddress(bridge, network.gateway, network.prefix), `address ${network.gateway}`)
    must(host.up(bridge), `bridge ${network.link} up`)
    const why = network.internal ? undefined : masquerade(network)
    if (why !== undefined) warn(`network ${network.name} has no way out: ${why}`)
    return { bridge, network }
  })
}

/** Gives back link and address; the last one takes the bridge and its rules along. */
export function releaseNetwork(
  root: string,
  id: string,
  state: Pick<NetworkState, 'name' | 'address' | 'link' | 'ports'>,
): Promise<void> {
  return lockNetworks(root, () => {
    const host = new Netlink()
    try {
      // -ENODEV: it went with the container's namespace.
      host.remove(state.link)
      const network = findNetwork(root, state.name)
      unforwardPorts(state, network.link)
      const leases = readLeases(root, state.name)
      if (leases[state.address]?.id === id) {
        delete leases[state.address]
        writeLeases(root, state.name, leases)
        tellNames(root, leases)
      }
      if (Object.keys(leases).length === 0) {
        host.remove(network.link)
        if (!network.internal) unmasquerade(network)
      }
    } finally {
      host.close()
    }
  })
}

function linkOf(id: string): string {
  return `lv${id.slice(0, 10)}`
}

/** Gives back what those have on the network that no container record names (builds) and that are gone. Idempotent. */
export async function sweepLeases(root: string, name: string, isGone: (lease: Lease) => boolean): Promise<void> {
  for (const [address, lease] of Object.entries(readLeases(root, name)))
    if (isGone(lease)) await releaseNetwork(root, lease.id, { name, address, link: linkOf(lease.id), ports: [] })
}

const MARK = '# others on the network'

/** Writes the names of all into the hosts file of each, in place: the file is bound into the container. */
function tellNames(root: string, leases: Leases): void {
  for (const [own, { id }] of Object.entries(leases)) {
    const path = join(root, 'containers', id, 'hosts')
    if (!existsSync(path)) continue
    const before = readFileSync(path, 'utf8').split(`${MARK}\n`)[0] ?? ''
    writeFileSync(path, `${before}${othersOf(leases, own)}`)
  }
}

/** Lines for /etc/hosts with everybody but `own`. */
export function othersOf(leases: Leases, own: string): string {
  const lines = Object.entries(leases)
    .filter(([address]) => address !== own)
    .map(([address, { names }]) => `${address}\t${[...new Set(names)].join(' ')}`)
  return lines.length === 0 ? '' : `${MARK}\n${lines.join('\n')}\n`
}
