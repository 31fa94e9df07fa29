/** Owns `--filter key=value` of listings and prunes: which there are for containers and what they mean (Docker's). */
import type { Container } from './containers.js'
import { RuntimeError } from './error.js'
import { moment } from './options.js'
import type { Prunable } from './prune.js'
import { liveStatus } from './status.js'

/** Values by key, as given. Throws INVALID for what is not key=value, and for a key that is none of `known`. */
export function readFilters(filters: readonly string[], known: readonly string[]): Map<string, string[]> {
  const byKey = new Map<string, string[]>()
  for (const text of filters) {
    const at = text.indexOf('=')
    if (at < 1) throw new RuntimeError('INVALID', `--filter ${text}: is not key=value`)
    // `label!=x`: the sign belongs to the key.
    const key = text.slice(0, at)
    if (!known.includes(key)) throw new RuntimeError('INVALID', `--filter ${key}: is none of ${known.join(', ')}`)
    byKey.set(key, [...(byKey.get(key) ?? []), text.slice(at + 1)])
  }
  return byKey
}

/** Whether there is a label `key`, or for `key=value` one of that value. */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=')
  const key = at < 0 ? wanted : wanted.slice(0, at)
  return Object.hasOwn(labels, key) && (at < 0 || labels[key] === wanted.slice(at + 1))
}

/** A test for the filters of a prune: `until=` (made before that), `label=`, `label!=`. All must hold. Throws INVALID. */
export function pruneFilter(
  filters: readonly string[],
  known = ['until', 'label', 'label!'],
): (p: Prunable) => boolean {
  const byKey = readFilters(filters, known)
  const before = (byKey.get('until') ?? []).map(text => moment('--filter until', text))
  const labels = byKey.get('label') ?? []
  const without = byKey.get('label!') ?? []
  return p =>
    before.every(time => Date.parse(p.created) < time) &&
    labels.every(wanted => hasLabel(p.labels, wanted)) &&
    !without.some(wanted => hasLabel(p.labels, wanted))
}

export function isOnNetwork({ config: { network } }: Container, name: string): boolean {
  return typeof network === 'string' ? network === name : 'network' in network && network.network === name
}

type Test = (c: Container, value: string) => boolean

/**
 * A test for the filters of a listing of `all`. Values of one key are alternatives, but those of `label`; keys must all
 * hold. Throws INVALID, and NO_SUCH_CONTAINER where `before` or `since` name none.
 */
export function containerFilter(filters: readonly string[], all: readonly Container[]): (c: Container) => boolean {
  const tests = [...readFilters(filters, [...Object.keys(simple), 'before', 'since'])].map(([key, values]) => {
    if (key === 'before' || key === 'since') {
      const others = values.map(v => all.indexOf(named(all, v)))
      return (c: Container): boolean =>
        others.some(at => (key === 'before' ? all.indexOf(c) < at : all.indexOf(c) > at))
    }
    if (key === 'publish' || key === 'expose') for (const v of values) portRange(key, v)
    const test = simple[key] as Test
    return (c: Container): boolean => (key === 'label' ? values.every(v => test(c, v)) : values.some(v => test(c, v)))
  })
  return c => tests.every(t => t(c))
}

const simple: Readonly<Record<string, Test>> = {
  id: (c, v) => c.id.startsWith(v),
  name: (c, v) => new RegExp(v).test(c.config.name),
  status: (c, v) => liveStatus(c) === v,
  exited: (c, v) => c.state.status === 'exited' && c.state.exitCode === Number(v),
  label: (c, v) => hasLabel(c.config.labels, v),
  ancestor: (c, v) => c.config.root.kind === 'image' && (c.config.root.reference === v || c.config.root.id.includes(v)),
  volume: (c, v) => c.config.mounts.some(m => m.source === v || m.destination === v),
  network: isOnNetwork,
  health: (c, v) => c.state.health.status === v,
  publish: (c, v) => {
    const range = portRange('publish', v)
    return portsOf(c).some(p => within(range, p.hostPort, p.protocol))
  },
  expose: (c, v) => {
    const range = portRange('expose', v)
    const exposed = c.config.exposed.map(text => portRange('expose', text))
    return (
      portsOf(c).some(p => within(range, p.containerPort, p.protocol)) ||
      exposed.some(e => e.protocol === range.protocol && e.first <= range.last && e.last >= range.first)
    )
  },
}

function named(all: readonly Container[], text: string): Container {
  const found = all.find(c => c.config.name === text) ?? all.find(c => c.id.startsWith(text))
  if (found === undefined) throw new RuntimeError('NO_SUCH_CONTAINER', `no such container: ${text}`)
  return found
}

/** Those it has; of one that does not run those it will have, as far as they are known. */
function portsOf({ config, state }: Container): { hostPort: number; containerPort: number; protocol: string }[] {
  return state.network?.ports ?? config.ports
}

interface PortRange {
  readonly first: number
  readonly last: number
  readonly protocol: string
}

/** `80`, `8000-8010`, `53/udp`. */
function portRange(key: string, text: string): PortRange {
  const m = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(text)
  if (m === null) throw new RuntimeError('INVALID', `--filter ${key}=${text}: is no port[-port][/tcp|/udp]`)
  const first = Number(m[1])
  return { first, last: m[2] === undefined ? first : Number(m[2]), protocol: m[3] ?? 'tcp' }
}

function within({ first, last, protocol }: PortRange, port: number, ofProtocol: string): boolean {
  return ofProtocol === protocol && port >= first && port <= last
}
