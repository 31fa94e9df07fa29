/**
 * Owns the way from what a user asked for (`ContainerConfig`) to what is carried out (`OciSpec`). Pure: everything that
 * depends on the machine (identity, files, sources of volumes) comes in resolved.
 */
import { readFileSync, statSync } from 'node:fs'
import { devOf } from '../sys/constants.js'
import { allCapabilities, chooseCapabilities } from './capabilities.js'
import type { ContainerConfig, ContainerMount, NamespaceMode } from './config.js'
import { RuntimeError } from './error.js'
import {
  defaultDeviceRules,
  defaultDevices,
  maskedPaths,
  readonlyPaths,
  type NamespaceType,
  type OciDevice,
  type OciMount,
  type OciProcess,
  type OciSpec,
} from './oci.js'
import { mountsForUser } from './default-mounts.js'
import { defaultProfile, type SeccompProfile } from './seccomp/profile.js'
import type { Identity } from './user.js'

export interface Resolved {
  identity: Identity
  /** Binds that the runtime itself adds: /etc/hosts and so on, our init. */
  binds: { source: string; destination: string; readOnly: boolean }[]
  /** Host path of each mount of the config that has one. */
  sourceOf(mount: ContainerMount): string
  /** Path of another container's namespace. */
  namespaceOf(container: string, type: NamespaceType): string
  cgroupPath: string
  /** Path of a network namespace made beforehand. */
  networkNamespace: string | undefined
}

const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The environment a process gets: the container's, with PATH, HOSTNAME, TERM and HOME when it does not set them. */
export function environment(
  config: ContainerConfig,
  home: string,
  extra: readonly string[] = [],
  tty = config.tty,
): string[] {
  const given = new Map<string, string>()
  for (const e of [DEFAULT_PATH, `HOSTNAME=${config.hostname}`, ...(tty ? ['TERM=xterm'] : []), `HOME=${home}`])
    given.set(e.slice(0, e.indexOf('=')), e)
  for (const e of [...config.env, ...extra]) given.set(e.includes('=') ? e.slice(0, e.indexOf('=')) : e, e)
  return [...given.values()].filter(e => e.includes('='))
}

/** Docker's rule: a user that is not root gets the bounding set, and no capability at once. */
export function capabilitiesFor(config: ContainerConfig, uid: number): NonNullable<OciProcess['capabilities']> {
  const chosen = config.privileged ? [...allCapabilities] : chooseCapabilities(config.capAdd, config.capDrop)
  const usable = chosen.filter(isKnownToKernel)
  const now = uid === 0 ? usable : []
  return { bounding: usable, effective: now, permitted: now, inheritable: [], ambient: [] }
}

let own: bigint | undefined

/** Capabilities that this process cannot give (a reduced bounding set) are left out: --privileged must still work. */
function isKnownToKernel(name: string): boolean {
  own ??= BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'}`)
  return (own & (1n << BigInt(allCapabilities.indexOf(name)))) !== 0n
}

/** `--ulimit` as the spec has it. */
export function rlimitsOf({ ulimits }: Pick<ContainerConfig, 'ulimits'>): NonNullable<OciProcess['rlimits']> {
  return ulimits.map(u => ({ ...u, type: `RLIMIT_${u.type.toUpperCase()}` }))
}

/** The profile a container runs under; undefined: none. */
export function seccompOf(config: ContainerConfig): SeccompProfile | undefined {
  if (config.seccomp === 'unconfined' || (config.privileged && config.seccomp === 'default')) return undefined
  return config.seccomp === 'default' ? defaultProfile : (JSON.parse(config.seccomp) as SeccompProfile)
}

export function buildSpec(config: ContainerConfig, resolved: Resolved): OciSpec {
  const { identity } = resolved
  const open = config.privileged || config.unmasked
  const devices = deviceList(config)
  const profile = seccompOf(config)
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: config.tty,
      user: { uid: identity.uid, gid: identity.gid, additionalGids: identity.groups },
      args: config.init ? ['/dev/init', '--', ...config.args] : config.args,
      env: environment(config, identity.home),
      cwd: config.workdir,
      capabilities: capabilitiesFor(config, identity.uid),
      rlimits: rlimitsOf(config),
      noNewPrivileges: config.noNewPrivileges,
      oomScoreAdj: config.oomScoreAdj,
    },
    root: { path: 'rootfs', readonly: config.readOnly },
    ...(config.uts === 'private' ? { hostname: config.hostname } : {}),
    ...(config.domainname === '' ? {} : { domainname: config.domainname }),
    mounts: mountList(config, resolved),
    ...(config.annotations === undefined ? {} : { annotations: config.annotations }),
    linux: {
      namespaces: namespaces(config, resolved),
      devices,
      cgroupsPath: resolved.cgroupPath,
      resources: {
        ...config.resources,
        devices: config.privileged
          ? [{ allow: true, access: 'rwm' }]
          : [...defaultDeviceRules, ...config.devices.flatMap(d => deviceRule(d)), ...(config.deviceRules ?? [])],
      },
      maskedPaths: open ? [] : [...maskedPaths],
      readonlyPaths: open ? [] : [...readonlyPaths],
      rootfsPropagation: 'rprivate',
      sysctl: config.sysctls,
      ...(profile === undefined ? {} : { seccomp: profile }),
    },
  }
}

function namespaces(config: ContainerConfig, resolved: Resolved): OciSpec['linux']['namespaces'] {
  const list: OciSpec['linux']['namespaces'] = [{ type: 'mount' }]
  const add = (type: NamespaceType, mode: NamespaceMode): void => {
    if (mode === 'private') list.push({ type })
    else if (mode !== 'host') list.push({ type, path: resolved.namespaceOf(mode.container, type) })
  }
  add('ipc', config.ipc)
  add('uts', config.uts)
  const { network } = config
  if (resolved.networkNamespace !== undefined) list.push({ type: 'network', path: resolved.networkNamespace })
  else if (network === 'none') list.push({ type: 'network' })
  else if (network !== 'host' && 'container' in network)
    list.push({ type: 'network', path: resolved.namespaceOf(network.container, 'network') })
  if (config.cgroupns === 'private') list.push({ type: 'cgroup' })
  add('pid', config.pid)
  return list
}

/** The default mounts, those of the user in their place where the destination is the same, the rest by depth. */
function mountList(config: ContainerConfig, resolved: Resolved): OciMount[] {
  const asked = config.mounts.map((m): OciMount => {
    if (m.kind === 'tmpfs') return { destination: m.destination, type: 'tmpfs', source: 'tmpfs', options: m.options }
    const source = resolved.sourceOf(m)
    return { destination: m.destination, type: 'bind', source, options: ['rbind', ...m.options] }
  })
  const binds = resolved.binds.map((b): OciMount => ({
    destination: b.destination,
    type: 'bind',
    source: b.source,
    options: ['bind', 'rprivate', ...(b.readOnly ? ['ro'] : [])],
  }))
  const taken = new Set(asked.map(m => m.destination))
  const rest = [...mountsForUser(config.shmSize, config.network === 'host').map(m => adapt(m, config)), ...binds]
    .filter(m => !taken.has(m.destination))
    .filter(m => !(m.destination === '/dev/mqueue' && taken.has('/dev')))
  const depth = (m: OciMount): number => m.destination.split('/').filter(Boolean).length
  return [...rest, ...asked.toSorted((a, b) => depth(a) - depth(b))]
}

function adapt(m: OciMount, config: ContainerConfig): OciMount {
  const writable = config.privileged && (m.destination === '/sys' || m.destination === '/sys/fs/cgroup')
  if (writable) return { ...m, options: m.options.filter(o => o !== 'ro') }
  // The host's own: another ipc namespace's /dev/shm would be a different place than the processes share.
  if (config.ipc === 'host' && (m.destination === '/dev/shm' || m.destination === '/dev/mqueue'))
    return { destination: m.destination, type: 'bind', source: m.destination, options: ['rbind'] }
  return m
}

function deviceList(config: ContainerConfig): OciDevice[] {
  const list = [...defaultDevices]
  for (const { source, destination } of config.devices) {
    const st = statSync(source, { throwIfNoEntry: false })
    if (st === undefined || !(st.isCharacterDevice() || st.isBlockDevice()))
      throw new RuntimeError('INVALID', `device ${source}: ${st === undefined ? 'does not exist' : 'is no device'}`)
    const { major, minor } = devOf(st.rdev)
    const type = st.isBlockDevice() ? 'b' : 'c'
    list.push({ type, path: destination, major, minor, fileMode: st.mode & 0o777, uid: st.uid, gid: st.gid })
  }
  return list
}

function deviceRule(
  d: ContainerConfig['devices'][number],
): NonNullable<OciSpec['linux']['resources']>['devices'] & object {
  const st = statSync(d.source)
  const { major, minor } = devOf(st.rdev)
  return [{ allow: true, type: st.isBlockDevice() ? 'b' : 'c', major, minor, access: d.access }]
}
