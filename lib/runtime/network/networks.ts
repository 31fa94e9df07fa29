/**
 * Owns the networks of a store: `<root>/networks/<name>.json` (what it is) and `<name>.leases.json` (who has which
 * address), changed only under the networks' lock. The network `bridge` always exists.
 * Invariant: two networks never overlap each other or a route of the host while they are up; two containers never have one
 * address.
 */
import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { LOCK } from '../../sys/constants.js'
import { flock } from '../../sys/file.js'
import { locked, readJson, writeJson } from '../atomic.js'
import type { PortMapping } from '../config.js'
import { RuntimeError } from '../error.js'
import { checkName } from '../names.js'

export interface Network {
  name: string
  created: string
  /** The bridge's interface. */
  link: string
  /** `10.89.0.0`. */
  subnet: string
  prefix: number
  gateway: string
  /** The subnet was chosen here, not asked for. */
  chosen?: boolean
  /** Without a way out. */
  internal: boolean
  labels: Record<string, string>
}

export interface Lease {
  id: string
  /** Names under which the others find it. */
  names: string[]
  /** Further names under which this one finds others, by their id. */
  links?: Record<string, string[]>
  /** Published ports that the packet filter knows of. */
  ports?: PortMapping[]
}

export type Leases = Record<string, Lease>

const directory = (root: string): string => join(root, 'networks')
const file = (root: string, name: string): string => join(directory(root), `${name}.json`)
const leasesFile = (root: string, name: string): string => join(directory(root), `${name}.leases.json`)

export function lockNetworks<T>(root: string, work: () => T | Promise<T>): Promise<T> {
  return locked(join(directory(root), '.lock'), work)
}

export function listNetworks(root: string): Network[] {
  if (!existsSync(directory(root))) return []
  return readdirSync(directory(root))
    .filter(f => f.endsWith('.json') && !f.endsWith('.leases.json'))
    .flatMap(f => readJson<Network>(join(directory(root), f)) ?? [])
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The network of that name; `bridge` is made when first asked for. The caller holds the lock. Throws NO_SUCH_NETWORK. */
export function findNetwork(root: string, name: string): Network {
  const found = readJson<Network>(file(root, checkName('network', name)))
  if (found !== undefined) return found
  if (name !== 'bridge') throw new RuntimeError('NO_SUCH_NETWORK', `no such network: ${name}`)
  return addNetwork(root, name, {})
}

export interface NetworkOptions {
  /** `10.1.0.0/24`; a free one is chosen without. */
  subnet?: string | undefined
  gateway?: string | undefined
  internal?: boolean
  labels?: Record<string, string>
}

/** Makes a network. The caller holds the lock. Throws NAME_TAKEN, INVALID. */
export function addNetwork(root: string, name: string, options: NetworkOptions): Network {
  checkName('network', name)
  if (name === 'none' || name === 'host' || existsSync(file(root, name)))
    throw new RuntimeError('NAME_TAKEN', `network ${name}: there is one of that name`)
  const taken = [...listNetworks(root).map(rangeOf), ...routes()]
  const { start, prefix } = options.subnet === undefined ? free(taken) : parse(options.subnet)
  const other = taken.find(t => overlap(t, { start, prefix }))
  if (other !== undefined)
    throw new RuntimeError(
      'INVALID',
      `network ${name}: ${options.subnet ?? ''} overlaps ${dotted(other.start)}/${other.prefix}`,
    )
  const gateway = options.gateway ?? dotted(start + 1)
  if (!overlap({ start, prefix }, { start: number(gateway), prefix: 32 }))
    throw new RuntimeError('INVALID', `network ${name}: gateway ${gateway} is not in the subnet`)
  const network: Network = {
    name,
    created: new Date().toISOString(),
    // An interface's name has 15 characters: stores must not meet, so it is made of store and name.
    link: `lm${createHash('sha256').update(`${root}\0${name}`).digest('hex').slice(0, 10)}`,
    subnet: dotted(start),
    prefix,
    gateway,
    ...(options.subnet === undefined && options.gateway === undefined ? { chosen: true } : {}),
    internal: options.internal === true,
    labels: options.labels ?? {},
  }
  writeJson(file(root, name), network)
  return network
}

/**
 * Runs `make`, which brings a network up, with a subnet that is free on the machine at that moment: another store, or
 * another program, may have taken it since the network was made, and then one that was chosen here is chosen anew. Stores
 * know nothing of each other, so they take turns by a lock on what they share, the network namespace. The caller holds the
 * networks' lock, and the network is down, nobody has a lease. Throws INVALID when a subnet that was asked for is taken.
 */
export function withFreeSubnet<T>(root: string, network: Network, make: (network: Network) => T): T {
  const lock = openSync('/proc/thread-self/ns/net', 'r')
  try {
    flock(lock, LOCK.EX)
    const used = routes()
    const other = used.find(range => overlap(range, rangeOf(network)))
    if (other === undefined) return make(network)
    if (network.chosen !== true)
      throw new RuntimeError(
        'INVALID',
        `network ${network.name}: its subnet ${network.subnet}/${network.prefix} overlaps a route of this machine, ` +
          `${dotted(other.start)}/${other.prefix}`,
      )
    const others = listNetworks(root).filter(n => n.name !== network.name)
    const { start, prefix } = free([...others.map(rangeOf), ...used])
    const moved = { ...network, subnet: dotted(start), prefix, gateway: dotted(start + 1) }
    writeJson(file(root, network.name), moved)
    return make(moved)
  } finally {
    closeSync(lock)
  }
}

/** Forgets a network that nobody uses. The caller holds the lock. Throws NO_SUCH_NETWORK, IN_USE. */
export function deleteNetwork(root: string, name: string): void {
  if (name === 'bridge') throw new RuntimeError('INVALID', 'network bridge: the default network stays')
  findNetwork(root, name)
  const [first] = Object.values(readLeases(root, name))
  if (first !== undefined)
    throw new RuntimeError('IN_USE', `network ${name}: container ${first.id.slice(0, 12)} is on it`)
  rmSync(file(root, name))
  rmSync(leasesFile(root, name), { force: true })
}

export function readLeases(root: string, name: string): Leases {
  return readJson<Leases>(leasesFile(root, name)) ?? {}
}

export function writeLeases(root: string, name: string, leases: Leases): void {
  writeJson(leasesFile(root, name), leases)
}

/** The first address that nobody has, or `wanted`. Throws INVALID when the network is full, or that one cannot be had. */
export function freeAddress(network: Network, leases: Leases, wanted?: string): string {
  const start = number(network.subnet)
  const last = start + 2 ** (32 - network.prefix) - 2
  if (wanted !== undefined) {
    const refuse = (cause: string): never => {
      throw new RuntimeError('INVALID', `--ip ${wanted}: ${cause}`)
    }
    if (number(wanted) <= start || number(wanted) > last)
      refuse(`is no host's in ${network.subnet}/${network.prefix} of network ${network.name}`)
    if (wanted === network.gateway) refuse('is the gateway')
    const owner = leases[wanted]
    if (owner !== undefined) refuse(`container ${owner.names[0] ?? owner.id.slice(0, 12)} has it`)
    return wanted
  }
  for (let n = start + 1; n <= last; n++) {
    const address = dotted(n)
    if (address !== network.gateway && !(address in leases)) return address
  }
  throw new RuntimeError('INVALID', `network ${network.name}: no free address`)
}

interface Range {
  start: number
  prefix: number
}

function rangeOf(network: Network): Range {
  return { start: number(network.subnet), prefix: network.prefix }
}

function number(address: string): number {
  return address.split('.').reduce((n, part) => n * 256 + Number(part), 0)
}

function dotted(n: number): string {
  return [24, 16, 8, 0].map(shift => Math.floor(n / 2 ** shift) % 256).join('.')
}

function overlap(a: Range, b: Range): boolean {
  const size = 2 ** (32 - Math.min(a.prefix, b.prefix))
  return Math.floor(a.start / size) === Math.floor(b.start / size)
}

function parse(subnet: string): Range {
  const m = /^(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})\/(\d{1,2})$/.exec(subnet)
  const prefix = Number(m?.[2])
  if (m === null || prefix < 8 || prefix > 30 || (m[1] as string).split('.').some(p => Number(p) > 255))
    throw new RuntimeError('INVALID', `--subnet ${subnet}: is no IPv4 subnet from /8 to /30`)
  const size = 2 ** (32 - prefix)
  return { start: Math.floor(number(m[1] as string) / size) * size, prefix }
}

/** The host's routes, the default one left out (proc(5), /proc/net/route: hexadecimal, little-endian). */
function routes(text = readFileSync('/proc/net/route', 'latin1')): Range[] {
  return text
    .trim()
    .split('\n')
    .slice(1)
    .flatMap(line => {
      const [, destination = '0', , , , , , mask = '0'] = line.split('\t')
      const swap = (hex: string): number => Buffer.from(hex.padStart(8, '0'), 'hex').readUInt32LE()
      const bits = swap(mask).toString(2).replaceAll('0', '').length
      return bits === 0 ? [] : [{ start: swap(destination), prefix: bits }]
    })
}

/** A /24 below 10.89.0.0/16 and the following, as far from what people use as there is. */
function free(taken: readonly Range[]): Range {
  for (let n = number('10.89.0.0'); n < number('10.200.0.0'); n += 256)
    if (!taken.some(t => overlap(t, { start: n, prefix: 24 }))) return { start: n, prefix: 24 }
  throw new RuntimeError('INVALID', 'network: no free subnet below 10.0.0.0/8')
}
