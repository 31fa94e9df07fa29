/**
 * Owns how the words of Docker's options are read: -p, -v, --mount, --tmpfs, --ulimit, --device, --restart, --memory …
 * Pure functions from text to parts of a ContainerConfig. Each throws INVALID with one line that names option and value.
 */
import { cpus } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import type { ContainerMount, NamespaceMode, NetworkMode, PortMapping, RestartPolicy } from './config.js'
import { RuntimeError } from './error.js'
import { isMountOption } from './mount-options.js'
import { newId } from './names.js'

function invalid(option: string, value: string, cause: string): never {
  throw new RuntimeError('INVALID', `${option} ${value}: ${cause}`)
}

/** `512m`, `1.5g`, `64MiB`, a number of bytes; -1 where `unlimited` says it may be. Powers of 1024. */
export function bytes(option: string, text: string, unlimited = false): number {
  if (unlimited && text === '-1') return -1
  const m = /^(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?$/i.exec(text.trim())
  if (m === null) invalid(option, text, 'is no size (512m, 1g, …)')
  return Math.floor(Number(m[1]) * 1024 ** 'bkmgt'.indexOf((m[2] || 'b').toLowerCase()))
}

/** `300ms`, `1m30s`, `10` (seconds) → seconds. */
export function seconds(option: string, text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)/g)]
  if (parts.length === 0 || parts.map(p => p[0]).join('') !== text)
    invalid(option, text, 'is no duration (10s, 1m30s, …)')
  const unit = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, ns: 1e-9 }
  return parts.reduce((sum, [, n, u]) => sum + Number(n) * unit[u as keyof typeof unit], 0)
}

/** `[[ip:][host]:]container[/proto]`, with ranges `8000-8003:80-83`. No host port, or 0, is any free one. */
export function ports(text: string): PortMapping[] {
  const bad = (cause: string): never => invalid('-p', text, cause)
  const [body = '', protocol = 'tcp'] = text.split('/', 2)
  if (protocol !== 'tcp' && protocol !== 'udp') bad(`protocol '${protocol}' is neither tcp nor udp`)
  const m = /^(?:(?:(\[[0-9a-fA-F:.]+\]|[^:[\]]*):)?([\d-]*):)?([\d-]+)$/.exec(body)
  if (m === null) return bad('is not [ip:][host:]container[/udp]')
  const [, ip = '', host = '', container = ''] = m
  const span = (range: string): number[] => {
    const [first = '', last = first] = range.split('-')
    const [a, b] = [Number(first), Number(last)]
    if (!/^\d+(-\d+)?$/.test(range) || a < 1 || b > 65535 || b < a) bad('ports are 1 to 65535')
    return Array.from({ length: b - a + 1 }, (_, i) => a + i)
  }
  const inside = span(container)
  const outside = host === '' || host === '0' ? inside.map(() => 0) : span(host)
  if (outside.length !== inside.length) bad('both ranges must be of one length')
  const hostIp = ip.replace(/^\[|\]$/g, '')
  return inside.map((containerPort, i) => ({
    hostIp,
    hostPort: outside[i] ?? 0,
    containerPort,
    protocol: protocol as 'tcp' | 'udp',
  }))
}

/** `-v [source:]destination[:options]`. A source with a slash is a host path (made if missing), else a volume's name. */
export function volume(text: string): ContainerMount {
  const parts = text.split(':')
  if (parts.length > 3 || parts.some(p => p === '')) invalid('-v', text, 'is not [source:]destination[:options]')
  const [first = '', second, third] = parts
  if (second === undefined) return { kind: 'volume', source: newId(), destination: absolute('-v', first), options: [] }
  const words = (third ?? '').split(',').filter(Boolean)
  const options = words.filter(w => !['z', 'Z', 'U', 'nocopy', 'delegated', 'cached', 'consistent'].includes(w))
  for (const w of options) if (!isMountOption(w)) invalid('-v', text, `option '${w}' is not known`)
  const destination = absolute('-v', second)
  if (!first.includes('/') && first !== '.' && first !== '..')
    return { kind: 'volume', source: first, destination, options, copyUp: !words.includes('nocopy') }
  return { kind: 'bind', source: resolve(first), destination, options, copyUp: true }
}

function absolute(option: string, path: string): string {
  if (!isAbsolute(path)) invalid(option, path, 'the place in the container must be absolute')
  return path.length > 1 ? path.replace(/\/+$/, '') : path
}

/** `--mount type=bind,source=…,target=…,readonly`. */
export function mount(text: string): ContainerMount {
  let kind = 'volume'
  let source = ''
  let destination = ''
  let copyUp = true
  const options: string[] = []
  for (const word of text.split(',')) {
    const at = word.indexOf('=')
    const [key, value] = at < 0 ? [word, 'true'] : [word.slice(0, at), word.slice(at + 1)]
    switch (key) {
      case 'type':
        kind = value
        break
      case 'source':
      case 'src':
        source = value
        break
      case 'target':
      case 'destination':
      case 'dst':
        destination = value
        break
      case 'readonly':
      case 'ro':
        if (value === 'true' || value === '1') options.push('ro')
        break
      case 'bind-propagation':
        options.push(value)
        break
      case 'tmpfs-size':
        options.push(`size=${bytes('--mount tmpfs-size', value)}`)
        break
      case 'tmpfs-mode':
        options.push(`mode=${value}`)
        break
      case 'volume-nocopy':
        copyUp = value === 'false'
        break
      default:
        invalid('--mount', text, `key '${key}' is not known`)
    }
  }
  if (destination === '') invalid('--mount', text, 'target is missing')
  destination = absolute('--mount', destination)
  switch (kind) {
    case 'bind':
      if (source === '') invalid('--mount', text, 'source is missing')
      return { kind, source: resolve(source), destination, options }
    case 'volume':
      return { kind, source: source === '' ? newId() : source, destination, options, copyUp }
    case 'tmpfs':
      return { kind, source: '', destination, options: ['nosuid', 'nodev', ...options] }
    case 'image':
      if (source === '') invalid('--mount', text, 'source is missing')
      return { kind, source, destination, options: ['ro'] }
    default:
      return invalid('--mount', text, `type '${kind}' is none of bind, volume, tmpfs, image`)
  }
}

/** `--tmpfs /path[:options]`. */
export function tmpfs(text: string): ContainerMount {
  const at = text.indexOf(':')
  const destination = absolute('--tmpfs', at < 0 ? text : text.slice(0, at))
  const words =
    at < 0
      ? []
      : text
          .slice(at + 1)
          .split(',')
          .filter(Boolean)
  const has = (...names: string[]): boolean => names.some(n => words.includes(n))
  const defaults = [
    ...(has('suid') ? [] : ['nosuid']),
    ...(has('dev') ? [] : ['nodev']),
    ...(has('exec') ? [] : ['noexec']),
  ]
  return { kind: 'tmpfs', source: '', destination, options: [...defaults, ...words] }
}

/** `name=soft[:hard]`; -1 is without limit. */
export function ulimit(text: string): { type: string; soft: number; hard: number } {
  const m = /^(\w+)=(-1|\d+|unlimited)(?::(-1|\d+|unlimited))?$/.exec(text)
  if (m === null) invalid('--ulimit', text, 'is not name=soft[:hard]')
  const number = (n: string): number => (n === 'unlimited' ? -1 : Number(n))
  const soft = number(m[2] as string)
  const hard = m[3] === undefined ? soft : number(m[3])
  if (hard >= 0 && (soft < 0 || soft > hard)) invalid('--ulimit', text, 'soft is above hard')
  const type = m[1] as string
  if (
    !/^(cpu|fsize|data|stack|core|rss|nproc|nofile|memlock|as|locks|sigpending|msgqueue|nice|rtprio|rttime)$/.test(type)
  )
    invalid('--ulimit', text, `there is no limit '${type}'`)
  return { type, soft, hard }
}

/** `/dev/x[:/dev/y[:rwm]]`. */
export function device(text: string): { source: string; destination: string; access: string } {
  const [source = '', second, third] = text.split(':')
  const permission = (p: string | undefined): p is string => p !== undefined && /^[rwm]{1,3}$/.test(p)
  if (!isAbsolute(source)) invalid('--device', text, 'must be an absolute path')
  if (second !== undefined && permission(second) && third === undefined)
    return { source, destination: source, access: second }
  if (third !== undefined && !permission(third)) invalid('--device', text, 'permissions are of r, w, m')
  return { source, destination: second ?? source, access: third ?? 'rwm' }
}

/** `TYPE MAJOR:MINOR ACCESS`: `c 42:* rwm` (cgroup-v1/devices.rst). */
export function deviceRule(text: string): {
  allow: true
  type: string
  access: string
  major?: number
  minor?: number
} {
  const m = /^([abc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text)
  if (m === null) return invalid('--device-cgroup-rule', text, "is not 'a|b|c MAJOR:MINOR rwm'")
  const [, type = '', major = '', minor = '', access = ''] = m
  const number = (key: 'major' | 'minor', n: string) => (n === '*' ? {} : { [key]: Number(n) })
  return { allow: true, type, access, ...number('major', major), ...number('minor', minor) }
}

/** `NAME[:ALIAS]`. Which container that is, is seen when the new one is made. */
export function link(text: string): { id: string; name: string; alias: string } {
  const [name = '', alias = name, more] = text.split(':')
  if (name === '' || alias === '' || more !== undefined) invalid('--link', text, 'is not NAME[:ALIAS]')
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(alias)) invalid('--link', text, `'${alias}' is no name`)
  return { id: '', name, alias }
}

/** An IPv4 address. */
export function address(option: string, text: string): string {
  const parts = text.split('.')
  if (parts.length !== 4 || parts.some(p => !/^\d{1,3}$/.test(p) || Number(p) > 255))
    invalid(option, text, 'is no IPv4 address')
  return parts.map(Number).join('.')
}

/** A hardware address of one machine, not of a group: `02:42:ac:11:00:02`. */
export function macAddress(option: string, text: string): string {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) invalid(option, text, 'is no hardware address')
  if ((parseInt(text, 16) & 1) !== 0) invalid(option, text, 'is the address of a group')
  return text.toLowerCase().replaceAll('-', ':')
}

/** `-a STDIN|STDOUT|STDERR` → their names. */
export function attached(words: readonly string[]): Set<'stdin' | 'stdout' | 'stderr'> {
  return new Set(
    words.map(word => {
      const name = word.toLowerCase()
      if (name === 'stdin' || name === 'stdout' || name === 'stderr') return name
      return invalid('--attach', word, 'is none of STDIN, STDOUT, STDERR')
    }),
  )
}

/** `no | always | unless-stopped | on-failure[:N]`. */
export function restart(text: string): RestartPolicy {
  const m = /^(no|always|unless-stopped|on-failure)(?::(\d+))?$/.exec(text)
  if (m === null || (m[2] !== undefined && m[1] !== 'on-failure'))
    return invalid('--restart', text, 'is none of no, always, unless-stopped, on-failure[:N]')
  return { name: m[1] as RestartPolicy['name'], retries: Number(m[2] ?? 0) }
}

/** `host`, `private`, `container:ID`. */
export function namespace(option: string, text: string): NamespaceMode {
  if (text === 'host') return 'host'
  if (text === '' || text === 'private' || text === 'shareable') return 'private'
  if (text.startsWith('container:') && text.length > 10) return { container: text.slice(10) }
  return invalid(option, text, 'is none of host, private, container:NAME')
}

/** `none`, `host`, `bridge`, `container:ID`, or a network's name. */
export function network(text: string): NetworkMode {
  if (text === 'none' || text === 'host') return text
  if (text.startsWith('container:') && text.length > 10) return { container: text.slice(10) }
  if (text === '' || text === 'default' || text === 'bridge') return { network: 'bridge' }
  return { network: text }
}

/** `KEY=value`, or `KEY` for the value it has here (left out when it has none). */
export function environmentEntry(text: string, own: Readonly<Record<string, string | undefined>>): string[] {
  if (text === '' || text.startsWith('=')) invalid('-e', text, 'has no name')
  if (text.includes('=')) return [text]
  const value = own[text]
  return value === undefined ? [] : [`${text}=${value}`]
}

/** Lines of an --env-file: `KEY=value` or `KEY`, `#` begins a comment line. */
export function environmentFile(text: string, own: Readonly<Record<string, string | undefined>>): string[] {
  return text
    .split('\n')
    .map(line => line.replace(/\r$/, '').trimStart())
    .filter(line => line !== '' && !line.startsWith('#'))
    .flatMap(line => environmentEntry(line, own))
}

/** `name:address`; `host-gateway` is resolved later. */
export function extraHost(text: string): string {
  const at = text.indexOf(':') >= 0 ? text.indexOf(':') : text.indexOf('=')
  const address = text.slice(at + 1)
  if (at < 1 || !/^([0-9.]+|[0-9a-fA-F:]+|host-gateway)$/.test(address))
    invalid('--add-host', text, 'is not name:address')
  return `${text.slice(0, at)}:${address}`
}

/** `0-2,4` within the CPUs or nodes there can be. */
export function cpuList(option: string, text: string): string {
  if (!/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(text)) invalid(option, text, 'is no list (0-2,4)')
  return text
}

/** `--cpus 0.5` → CFS quota for a period of 100 ms. */
export function cpuQuota(text: string): { quota: number; period: number } {
  const n = Number(text)
  if (!(n > 0) || !/^\d*\.?\d+$/.test(text)) invalid('--cpus', text, 'is no number above 0')
  if (n > cpus().length) invalid('--cpus', text, `this machine has ${cpus().length}`)
  return { quota: Math.max(1000, Math.round(n * 100_000)), period: 100_000 }
}

/** `KEY=value` pairs. */
export function pair(option: string, text: string): [string, string] {
  const at = text.indexOf('=')
  if (at === 0 || text === '') invalid(option, text, 'has no name')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** A time (ISO 8601, seconds since the epoch) or an age (`10m`) → milliseconds since the epoch. */
export function moment(option: string, text: string): number {
  if (/^\d{9,}(\.\d+)?$/.test(text)) return Number(text) * 1000
  const date = /^\d{4}-/.test(text) ? Date.parse(text) : NaN
  return Number.isNaN(date) ? Date.now() - seconds(option, text) * 1000 : date
}
