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
  let held = false
  let published: Published | undefined
  const release = async (): Promise<void> => {
    published?.close()
    published = undefined
    if (namespace.fd >= 0) close(namespace.fd)
    namespace.fd = -1
    if (held) await releaseNetwork(root, name, config.id)
    held = false
  }
  try {
    held = true
    const { state, network } = await lockNetworks(root, () => enterNetwork(root, config, name, namespace, warn))
    published = await publish(wantedPorts(config), state.address)
    state.ports = published.ports
    if (!network.internal && state.ports.length > 0) await lockNetworks(root, () => forward(root, network, state, warn))
    namespace.netlink.close()
    return {
      state,
      namespacePath: `/proc/${process.pid}/fd/${namespace.fd}`,
      nameservers: [],
      attached: () => Promise.resolve(state),
      release,
    }
  } catch (error) {
    namespace.netlink.close()
    await release()
    throw error
  }
}

function enterNetwork(
  root: string,
  config: ContainerConfig,
  name: string,
  namespace: Namespace,
  warn: (line: string) => void,
): { state: NetworkState; network: Network } {
  const leases = readLeases(root, name)
  const host = new Netlink()
  try {
    // On record before anything is made: what a killed command has left is found by it.
    let address = ''
    const lease = (network: Network): void => {
      address = freeAddress(network, leases, config.address)
      leases[address] = {
        id: config.id,
        names: [config.name, ...config.networkAliases, config.hostname],
        ...linksOf(config, name, leases),
      }
      writeLeases(root, name, leases)
    }
    const { bridge, network } = ensureBridge(host, root, findNetwork(root, name), lease, warn)
    const link = linkOf(config.id)
    const mac =
      config.mac === undefined
        ? Buffer.concat([Buffer.from([0x02, 0x4c]), ipv4(address)])
        : Buffer.from(config.mac.replaceAll(':', ''), 'hex')
    must(host.addVeth(link, bridge, 'eth0', mac, namespace.fd), `veth ${link}`)
    const inside = must(namespace.netlink.link('eth0'), 'eth0')
    must(namespace.netlink.addAddress(inside, address, network.prefix), `address ${address}`)
    must(namespace.netlink.up(inside), 'eth0 up')
    if (!network.internal) must(namespace.netlink.addDefaultRoute(network.gateway), `route by ${network.gateway}`)
    tellNames(root, leases)
    const macText = mac.toString('hex').replace(/(..)(?=.)/g, '$1:')
    const { prefix, gateway } = network
    return { state: { name, address, prefix, gateway, mac: macText, link, ports: [] }, network }
  } finally {
    host.close()
  }
}

/** Who is linked to has to be there when it starts. Throws WRONG_STATE. */
function linksOf({ links }: ContainerConfig, name: string, leases: Leases): Pick<Lease, 'links'> {
  if (links === undefined) return {}
  const byId: Record<string, string[]> = {}
  for (const { id, name: linked, alias } of links) {
    if (!Object.values(leases).some(l => l.id === id))
      throw new RuntimeError('WRONG_STATE', `--link ${linked}: it does not run on network ${name}`)
    ;(byId[id] ??= []).push(alias)
  }
  return { links: byId }
}

/** Lets other machines in to the published ports, on record before there are rules. */
function forward(root: string, network: Network, state: NetworkState, warn: (line: string) => void): void {
  const leases = readLeases(root, network.name)
  const lease = leases[state.address]
  if (lease === undefined) return
  lease.ports = state.ports
  writeLeases(root, network.name, leases)
  const why = forwardPorts(state, network.link)
  if (why !== undefined) warn(`published ports see other machines by this one's address: ${why}`)
}

function must(result: number, what: string): number {
  if (result >= 0) return result
  const error = new FsError(result, 'netlink', what)
  throw new RuntimeError(error.code === 'EPERM' ? 'NOT_PERMITTED' : 'START_FAILED', `network: ${what}: ${error.code}`)
}

/**
 * The bridge's interface and the network as it is up: the first container may find its subnet taken, and move it. `lease`
 * takes the address before there is anything.
 */
function ensureBridge(
  host: Netlink,
  root: string,
  wanted: Network,
  lease: (network: Network) => void,
  warn: (line: string) => void,
): { bridge: number; network: Network } {
  const there = host.link(wanted.link)
  if (there > 0) {
    lease(wanted)
    return { bridge: there, network: wanted }
  }
  return withFreeSubnet(root, wanted, network => {
    lease(network)
    must(host.addBridge(network.link), `bridge ${network.link}`)
    const bridge = must(host.link(network.link), network.link)
    must(host.addAddress(bridge, network.gateway, network.prefix), `address ${network.gateway}`)
    must(host.up(bridge), `bridge ${network.link} up`)
    const why = network.internal ? undefined : masquerade(network)
    if (why !== undefined) warn(`network ${network.name} has no way out: ${why}`)
    return { bridge, network }
  })
}

/** Gives back link, rules and address of `id` on a network; the last one takes the bridge and its rules along. Idempotent. */
export function releaseNetwork(root: string, name: string, id: string): Promise<void> {
  return lockNetworks(root, () => {
    const leases = readLeases(root, name)
    const [address, lease] = Object.entries(leases).find(([, l]) => l.id === id) ?? []
    if (address === undefined || lease === undefined) return
    const network = findNetwork(root, name)
    const link = linkOf(id)
    const host = new Netlink()
    try {
      // -ENODEV: it went with the container's namespace.
      host.remove(link)
      unforwardPorts({ link, address, ports: lease.ports ?? [] }, network.link)
      delete leases[address]
      if (Object.keys(leases).length === 0) {
        host.remove(network.link)
        if (!network.internal) unmasquerade(network)
      }
      // Last: as long as it stands there, all of this is done again.
      writeLeases(root, name, leases)
      tellNames(root, leases)
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
  for (const lease of Object.values(readLeases(root, name)))
    if (isGone(lease)) await releaseNetwork(root, name, lease.id)
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
  const links = leases[own]?.links ?? {}
  const lines = Object.entries(leases)
    .filter(([address]) => address !== own)
    .map(([address, { id, names }]) => `${address}\t${[...new Set([...names, ...(links[id] ?? [])])].join(' ')}`)
  return lines.length === 0 ? '' : `${MARK}\n${lines.join('\n')}\n`
}
