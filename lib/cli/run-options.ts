/**
 * Owns the options that `run` and `create` share, and how they become a ContainerConfig. Names, short forms and meanings
 * are Docker's.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { InferredOptionTypes } from 'yargs'
import type { ContainerConfig } from '../runtime/config.js'
import { UsageError, type OptionTable } from './command.js'
import { driverOf, driverOption } from './driver.js'
import { number, resourcesOf } from './limits.js'

const text = (describe: string, alias?: string) => ({ type: 'string', describe, ...(alias ? { alias } : {}) }) as const
const many = (describe: string, alias?: string) =>
  ({ type: 'string', array: true, describe, ...(alias ? { alias } : {}) }) as const
const flag = (describe: string, alias?: string) => ({ type: 'boolean', describe, ...(alias ? { alias } : {}) }) as const

export const runOptions = {
  rootfs: text('Run on a writable layer over this directory instead of an image'),
  name: text('Name of the container'),
  rm: flag('Remove the container when it ends'),
  interactive: flag('Keep stdin open', 'i'),
  tty: flag('Give it a terminal', 't'),
  attach: many('Attach to STDIN, STDOUT or STDERR only', 'a'),
  env: many('Set a variable: NAME=value, or NAME for the value it has here', 'e'),
  'env-file': many('Read variables from a file'),
  workdir: text('Working directory inside', 'w'),
  user: text('User: name or uid, with :group if wanted', 'u'),
  'group-add': many('Supplementary group'),
  volume: many('Mount [source:]destination[:options]', 'v'),
  mount: many('Mount: type=bind|volume|tmpfs|image,source=…,target=…'),
  'volumes-from': many('Mount what another container has: NAME[:ro]'),
  tmpfs: many('Mount an empty tmpfs: /path[:options]'),
  network: { ...text('none, host, bridge, container:NAME, or a network'), alias: ['net'] },
  'network-alias': many('Another name of the container on its network'),
  ip: text('Its address on the network'),
  'mac-address': text('Its hardware address'),
  link: many('Another name for a container on its network: NAME[:ALIAS]'),
  publish: many('Publish a port: [ip:][host:]container[/udp]', 'p'),
  'publish-all': flag('Publish all exposed ports on free ones', 'P'),
  expose: many('Expose a port'),
  hostname: text('Host name inside', 'h'),
  domainname: text('NIS domain name inside'),
  'add-host': many('Line for /etc/hosts: name:address'),
  dns: many('DNS server'),
  'dns-search': many('DNS search domain'),
  'dns-option': many('DNS option'),
  entrypoint: text('Replace the entrypoint of the image'),
  init: flag('Run an init as pid 1 that forwards signals and reaps'),
  'read-only': flag('Make the root read-only'),
  privileged: flag('Give all capabilities and devices'),
  'cap-add': many('Add a capability'),
  'cap-drop': many('Drop a capability'),
  'security-opt': many('seccomp=FILE|unconfined, no-new-privileges, unmask=ALL'),
  device: many('Give a device: /dev/x[:/dev/y[:rwm]]'),
  'device-cgroup-rule': many("Let it use devices: 'c 42:* rwm'"),
  ulimit: many('Limit: name=soft[:hard]'),
  sysctl: many('Kernel parameter of its namespaces: name=value'),
  'shm-size': text('Size of /dev/shm'),
  pid: text('PID namespace: host or container:NAME'),
  ipc: text('IPC namespace: host or container:NAME'),
  uts: text('UTS namespace: host'),
  userns: { type: 'string', choices: ['host'], describe: 'User namespace: that of the command, as without' },
  cgroupns: { type: 'string', choices: ['private', 'host'], describe: 'Cgroup namespace' },
  'cgroup-parent': text('Cgroup to make its cgroup in'),
  memory: text('Limit of memory: 512m, 1g', 'm'),
  'memory-swap': text('Limit of memory and swap together; -1 is none'),
  'memory-reservation': text('Soft limit of memory'),
  'memory-swappiness': text('0 to 100'),
  'oom-kill-disable': flag('Let it wait instead of being killed'),
  'oom-score-adj': text('-1000 to 1000'),
  cpus: text('Number of CPUs, 0.5'),
  'cpu-shares': text('Relative weight', 'c'),
  'cpu-period': text('CFS period in microseconds'),
  'cpu-quota': text('CFS quota in microseconds'),
  'cpuset-cpus': text('CPUs it may use: 0-2,4'),
  'cpuset-mems': text('Memory nodes it may use'),
  'pids-limit': text('Limit of processes; -1 is none'),
  'blkio-weight': text('Relative weight of block I/O, 10 to 1000'),
  'blkio-weight-device': many('Relative weight on a device: /dev/x:100'),
  'device-read-bps': many('Limit of reading: /dev/x:1m'),
  'device-write-bps': many('Limit of writing: /dev/x:1m'),
  'device-read-iops': many('Limit of reads per second: /dev/x:100'),
  'device-write-iops': many('Limit of writes per second: /dev/x:100'),
  restart: text('no, always, unless-stopped, on-failure[:N]'),
  'stop-signal': text('Signal that asks it to stop'),
  'stop-timeout': text('Seconds to wait before it is killed'),
  label: many('Label: name=value', 'l'),
  annotation: many('Annotation of its OCI bundle: name=value'),
  'label-file': many('Read labels from a file'),
  'log-opt': many('max-size=10m, max-file=3'),
  'log-driver': { type: 'string', choices: ['json-file', 'none'], describe: 'Where output is kept' },
  'health-cmd': text('Command that says whether it is healthy'),
  'health-interval': text('Time between checks'),
  'health-timeout': text('Time a check may take'),
  'health-retries': text('Failures in a row that make it unhealthy'),
  'health-start-period': text('Time in which failures do not count'),
  'health-start-interval': text('Time between checks in the start period'),
  'no-healthcheck': flag('Do without the health check of the image'),
  cidfile: text('Write the id to this file'),
  pull: { type: 'string', choices: ['missing', 'always', 'never'], describe: 'When to pull the image' },
  quiet: flag('Say nothing of a pull', 'q'),
  platform: text('Platform of the image: linux/arm64'),
  runtime: text('OCI runtime that runs it: crun, runc or a path'),
  driver: driverOption,
  transport: { type: 'string', choices: ['direct', 'fuse-native'], describe: 'direct; fuse-native is refused here' },
} as const satisfies OptionTable

type Camel<S extends string> = S extends `${infer H}-${infer T}` ? `${H}${Capitalize<Camel<T>>}` : S
type Inferred = InferredOptionTypes<typeof runOptions>
export type RunArgs = { readonly [K in keyof Inferred as K extends string ? Camel<K> : never]: Inferred[K] }

/** What the image says, where there is one. */
export interface ImageDefaults {
  entrypoint: string[]
  command: string[]
  env: string[]
  workdir: string
  user: string
  exposed: string[]
  volumes: string[]
  labels: Record<string, string>
  stopSignal: string
  health: ContainerConfig['health']
}

export const noImage: ImageDefaults = {
  entrypoint: [],
  command: [],
  env: [],
  workdir: '',
  user: '',
  exposed: [],
  volumes: [],
  labels: {},
  stopSignal: '',
  health: undefined,
}

/** The configuration of a new container. Throws UsageError for options that do not fit together, INVALID for values. */
export async function configOf(
  args: RunArgs,
  root: ContainerConfig['root'],
  command: readonly string[],
  image: ImageDefaults,
): Promise<ContainerConfig> {
  const [o, { freshConfig }, { newId }, { signalNumber }] = await Promise.all([
    import('../runtime/options.js'),
    import('../runtime/config.js'),
    import('../runtime/names.js'),
    import('../sys/process.js'),
  ])
  const id = newId()
  const config = freshConfig(id, args.name ?? '', root)
  const entrypoint = args.entrypoint === undefined ? image.entrypoint : args.entrypoint === '' ? [] : [args.entrypoint]
  config.entrypoint = entrypoint
  // A new entrypoint makes the image's command meaningless.
  const rest = command.length > 0 || args.entrypoint !== undefined ? command : image.command
  config.args = [...entrypoint, ...rest]
  config.env = [
    ...image.env,
    ...(args.envFile ?? []).flatMap(file => o.environmentFile(readText('--env-file', file), process.env)),
    ...(args.env ?? []).flatMap(e => o.environmentEntry(e, process.env)),
  ]
  config.workdir = args.workdir ?? (image.workdir || '/')
  config.user = args.user ?? image.user
  config.groupAdd = args.groupAdd ?? []
  config.tty = args.tty === true
  config.interactive = args.interactive === true
  config.autoRemove = args.rm === true
  config.init = args.init === true
  config.readOnly = args.readOnly === true
  config.privileged = args.privileged === true
  config.capAdd = args.capAdd ?? []
  config.capDrop = args.capDrop ?? []
  const { chooseCapabilities } = await import('../runtime/capabilities.js')
  chooseCapabilities(config.capAdd, config.capDrop)
  for (const opt of args.securityOpt ?? []) applySecurity(config, opt)
  config.mounts = [
    ...(args.volume ?? []).map(o.volume),
    ...(args.mount ?? []).map(o.mount),
    ...(args.tmpfs ?? []).map(o.tmpfs),
  ]
  for (const destination of image.volumes)
    if (!config.mounts.some(m => m.destination === destination))
      config.mounts.push({ kind: 'volume', source: newId(), destination, options: [], copyUp: true, implied: true })
  if (args.volumesFrom !== undefined) config.volumesFrom = args.volumesFrom
  config.devices = (args.device ?? []).map(o.device)
  if (args.deviceCgroupRule !== undefined) config.deviceRules = args.deviceCgroupRule.map(o.deviceRule)
  config.ulimits = (args.ulimit ?? []).map(o.ulimit)
  config.sysctls = Object.fromEntries((args.sysctl ?? []).map(s => o.pair('--sysctl', s)))
  if (args.shmSize !== undefined) config.shmSize = o.bytes('--shm-size', args.shmSize)
  // A directory of this machine is run to try something on it; an image is a service.
  config.network = o.network(args.network ?? (root.kind === 'directory' ? 'none' : 'bridge'))
  config.networkAliases = args.networkAlias ?? []
  if (args.ip !== undefined) config.address = o.address('--ip', args.ip)
  if (args.macAddress !== undefined) config.mac = o.macAddress('--mac-address', args.macAddress)
  if (args.link !== undefined) config.links = args.link.map(o.link)
  config.ports = (args.publish ?? []).flatMap(o.ports)
  config.publishAll = args.publishAll === true
  config.exposed = [...new Set([...image.exposed, ...(args.expose ?? [])])]
  config.dns = args.dns ?? []
  config.dnsSearch = args.dnsSearch ?? []
  config.dnsOptions = args.dnsOption ?? []
  config.extraHosts = (args.addHost ?? []).map(o.extraHost)
  config.pid = o.namespace('--pid', args.pid ?? '')
  config.ipc = o.namespace('--ipc', args.ipc ?? '')
  // Who shares the host's network is known by the host's name.
  config.uts =
    args.uts === undefined && config.network === 'host' && args.hostname === undefined
      ? 'host'
      : o.namespace('--uts', args.uts ?? '')
  if (config.uts === 'host') config.hostname = (await import('node:os')).hostname()
  if (args.hostname !== undefined) {
    if (!/^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,62}[a-zA-Z0-9])?$/.test(args.hostname))
      throw new UsageError(`--hostname ${args.hostname}: letters, digits, '-' and '.', at most 64`)
    if (config.uts === 'host') throw new UsageError('--hostname and --uts host exclude each other')
    config.hostname = args.hostname
  }
  config.domainname = args.domainname ?? ''
  config.cgroupns = args.cgroupns === 'host' || config.privileged ? 'host' : 'private'
  if (args.cgroupParent !== undefined) config.cgroupParent = `/${args.cgroupParent.replace(/^\/+|\/+$/g, '')}`
  config.resources = await resourcesOf(args)
  config.oomScoreAdj = number('--oom-score-adj', args.oomScoreAdj, -1000, 1000) ?? 0
  config.restart = o.restart(args.restart ?? 'no')
  if (config.restart.name !== 'no' && config.autoRemove) throw new UsageError('--restart and --rm exclude each other')
  config.stopSignal = args.stopSignal ?? (image.stopSignal || 'SIGTERM')
  if (signalNumber(config.stopSignal) === undefined)
    throw new UsageError(`--stop-signal ${config.stopSignal}: no such signal`)
  config.stopTimeout = number('--stop-timeout', args.stopTimeout, -1, 1e6) ?? 10
  config.labels = {
    ...image.labels,
    ...Object.fromEntries(
      (args.labelFile ?? [])
        .flatMap(f => readText('--label-file', f).split('\n').filter(Boolean))
        .map(l => o.pair('--label-file', l)),
    ),
    ...Object.fromEntries((args.label ?? []).map(l => o.pair('--label', l))),
  }
  if (args.annotation !== undefined)
    config.annotations = Object.fromEntries(args.annotation.map(a => o.pair('--annotation', a)))
  for (const opt of args.logOpt ?? []) {
    const [key, value] = o.pair('--log-opt', opt)
    if (key === 'max-size') config.log.maxSize = o.bytes('--log-opt max-size', value)
    else if (key === 'max-file') config.log.maxFiles = number('--log-opt max-file', value, 1, 1000) ?? 1
    else throw new UsageError(`--log-opt ${opt}: only max-size and max-file are known`)
  }
  config.log.off = args.logDriver === 'none'
  config.health = healthOf(args, image, o.seconds)
  config.runtime = args.runtime ?? ''
  config.driver = driverOf(args.driver)
  const network = config.network
  if (typeof network === 'string' || 'container' in network) {
    const given = [
      ['-p', args.publish],
      ['--ip', args.ip],
      ['--mac-address', args.macAddress],
      ['--link', args.link],
    ].find(([, value]) => value !== undefined)
    if (given !== undefined) throw new UsageError(`${String(given[0])} needs a network of its own (--network bridge)`)
  }
  return config
}

function readText(option: string, file: string): string {
  try {
    return readFileSync(resolve(file), 'utf8')
  } catch (error) {
    throw new UsageError(`${option} ${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`)
  }
}

function applySecurity(config: ContainerConfig, opt: string): void {
  const at = opt.search(/[=:]/)
  const [key, value] = at < 0 ? [opt, ''] : [opt.slice(0, at), opt.slice(at + 1)]
  if (key === 'no-new-privileges') config.noNewPrivileges = value !== 'false'
  else if (key === 'seccomp') {
    if (value === 'unconfined' || value === 'default') config.seccomp = value
    else {
      const profile = readText('--security-opt seccomp', value)
      try {
        config.seccomp = JSON.stringify(JSON.parse(profile))
      } catch {
        throw new UsageError(`--security-opt seccomp=${value}: is no JSON`)
      }
    }
  } else if (key === 'unmask' && value.toUpperCase() === 'ALL') config.unmasked = true
  else if (key === 'label' && value === 'disable') return
  else if (key === 'apparmor' && value === 'unconfined') return
  else throw new UsageError(`--security-opt ${opt}: only seccomp=, no-new-privileges and unmask=ALL are known`)
}

function healthOf(
  args: RunArgs,
  image: ImageDefaults,
  seconds: (option: string, text: string) => number,
): ContainerConfig['health'] {
  if (args.noHealthcheck === true) return undefined
  const test = args.healthCmd === undefined ? image.health?.test : ['CMD-SHELL', args.healthCmd]
  if (test === undefined || test.length === 0 || test[0] === 'NONE') return undefined
  const time = (option: string, value: string | undefined, otherwise: number): number =>
    value === undefined ? otherwise : seconds(option, value)
  return {
    test,
    interval: time('--health-interval', args.healthInterval, image.health?.interval ?? 30),
    timeout: time('--health-timeout', args.healthTimeout, image.health?.timeout ?? 30),
    startPeriod: time('--health-start-period', args.healthStartPeriod, image.health?.startPeriod ?? 0),
    startInterval:
      args.healthStartInterval === undefined
        ? image.health?.startInterval
        : seconds('--health-start-interval', args.healthStartInterval),
    retries: number('--health-retries', args.healthRetries, 1, 1e6) ?? image.health?.retries ?? 3,
  }
}
