/** Owns `--filter key=value` of container listings: which there are and what they mean (Docker's). */
import type { Container } from './containers.js'
import { RuntimeError } from './error.js'
import { liveStatus } from './status.js'

/** A test for one filter. Values of one key are alternatives, keys must all hold. Throws INVALID. */
export function containerFilter(filters: readonly string[]): (c: Container) => boolean {
  const byKey = new Map<string, string[]>()
  for (const text of filters) {
    const at = text.indexOf('=')
    if (at < 1) throw new RuntimeError('INVALID', `--filter ${text}: is not key=value`)
    const key = text.slice(0, at)
    byKey.set(key, [...(byKey.get(key) ?? []), text.slice(at + 1)])
  }
  const tests = [...byKey].map(([key, values]) => {
    const test = testOf(key)
    return (c: Container): boolean => values.some(v => test(c, v))
  })
  return c => tests.every(t => t(c))
}

function testOf(key: string): (c: Container, value: string) => boolean {
  switch (key) {
    case 'id':
      return (c, v) => c.id.startsWith(v)
    case 'name':
      return (c, v) => new RegExp(v).test(c.config.name)
    case 'status':
      return (c, v) => liveStatus(c) === v
    case 'exited':
      return (c, v) => c.state.status === 'exited' && c.state.exitCode === Number(v)
    case 'label':
      return (c, v) => {
        const at = v.indexOf('=')
        const label = c.config.labels[at < 0 ? v : v.slice(0, at)]
        return label !== undefined && (at < 0 || label === v.slice(at + 1))
      }
    case 'ancestor':
      return (c, v) => c.config.root.kind === 'image' && (c.config.root.reference === v || c.config.root.id.includes(v))
    case 'volume':
      return (c, v) => c.config.mounts.some(m => m.source === v || m.destination === v)
    case 'network':
      return (c, v) => {
        const { network } = c.config
        return typeof network === 'string' ? network === v : 'network' in network && network.network === v
      }
    case 'health':
      return (c, v) => c.state.health.status === v
    default:
      throw new RuntimeError(
        'INVALID',
        `--filter ${key}: is none of id, name, status, exited, label, ancestor, volume, network, health`,
      )
  }
}
