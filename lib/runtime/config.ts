/**
 * Owns what a container *is*: `ContainerConfig`, written once by create as containers/<id>/container.json and changed
 * only by rename and update; and `ContainerState`, what became of it, containers/<id>/state.json, written by whoever
 * supervises it. Both are JSON, replaced by rename.
 */
import type { Driver } from '../mount/spec.js'
import type { OciResources } from './oci.js'

export interface PortMapping {
  hostIp: string
  /** 0: any free one. */
  hostPort: number
  containerPort: number
  protocol: 'tcp' | 'udp'
}

export type MountKind = 'bind' | 'volume' | 'tmpfs' | 'image'

export interface ContainerMount {
  kind: MountKind
  /** Host path, volume name (anonymous ones are 64 hex digits), or image reference. */
  source: string
  destination: string
  /** Words of mount(8): ro, rslave, size=… */
  options: string[]
  /** A volume with nothing in it gets what the image has at the destination. */
  copyUp?: boolean
  /** The image that `source` named at the creation: its id. */
  image?: string
  /** The image asks for it (VOLUME), nobody else. */
  implied?: boolean
}

/** `private` is a new one of the container's own. */
export type NamespaceMode = 'private' | 'host' | { container: string }

export type NetworkMode = 'none' | 'host' | { network: string } | { container: string }

export interface HealthCheck {
  /** Argument vector, or a command for /bin/sh -c. */
  test: string[]
  /** Seconds. */
  interval: number
  timeout: number
  startPeriod: number
  /** Between checks in the start period; `interval` when undefined. */
  startInterval?: number | undefined
  retries: number
}

export interface RestartPolicy {
  name: 'no' | 'always' | 'unless-stopped' | 'on-failure'
  /** With on-failure: 0 is without end. */
  retries: number
}

/** The root of a container: a directory that stays as it is, or an image's layers. */
export type ContainerRoot =
  { kind: 'directory'; path: string } | { kind: 'image'; reference: string; id: string; layers: string[] }

export interface ContainerConfig {
  id: string
  name: string
  /** ISO 8601. */
  created: string
  root: ContainerRoot
  /** Entrypoint and command together. */
  args: string[]
  entrypoint: string[]
  env: string[]
  workdir: string
  /** As asked for: `name|uid[:group|gid]`, '' for root. */
  user: string
  groupAdd: string[]
  hostname: string
  domainname: string
  tty: boolean
  /** stdin stays open for attach. */
  interactive: boolean
  labels: Record<string, string>
  /** Of the OCI bundle. */
  annotations?: Record<string, string>
  autoRemove: boolean
  init: boolean
  readOnly: boolean
  privileged: boolean
  capAdd: string[]
  capDrop: string[]
  noNewPrivileges: boolean
  /** 'default', 'unconfined', or a profile as JSON. */
  seccomp: string
  /** Paths not to mask and not to make read-only. */
  unmasked: boolean
  mounts: ContainerMount[]
  /** Whose mounts are among them: `NAME[:ro]`. */
  volumesFrom?: string[]
  devices: { source: string; destination: string; access: string }[]
  /** What the devices cgroup lets through beside these. */
  deviceRules?: NonNullable<OciResources['devices']>
  ulimits: { type: string; soft: number; hard: number }[]
  sysctls: Record<string, string>
  shmSize: number
  network: NetworkMode
  networkAliases: string[]
  /** The address on its network that was asked for. */
  address?: string
  /** The hardware address that was asked for: `02:00:00:00:00:01`. */
  mac?: string
  /** Further names under which it finds another container on its network. */
  links?: { id: string; name: string; alias: string }[]
  ports: PortMapping[]
  publishAll: boolean
  exposed: string[]
  dns: string[]
  dnsSearch: string[]
  dnsOptions: string[]
  /** `name:address`. */
  extraHosts: string[]
  pid: NamespaceMode
  ipc: NamespaceMode
  uts: NamespaceMode
  cgroupns: 'private' | 'host'
  cgroupParent: string
  resources: OciResources
  oomScoreAdj: number
  restart: RestartPolicy
  stopSignal: string
  /** Seconds. */
  stopTimeout: number
  health: HealthCheck | undefined
  log: { maxSize: number; maxFiles: number; off: boolean }
  /** '' is Lamina itself. */
  runtime: string
  /** Who joins its layers; stays as it is, for what is in its upper is the driver's. Absent: `fuse`. */
  driver?: Driver
}

export type Status = 'created' | 'running' | 'exited'

export interface ContainerState {
  status: Status
  /** The container's first process; 0 when there is none. */
  pid: number
  /** Its start time (proc(5) stat field 22), so that a recycled pid is not taken for it. */
  pidStart: string
  supervisor: number
  supervisorStart: string
  /** /proc/sys/kernel/random/boot_id at the start. */
  boot: string
  exitCode: number
  oomKilled: boolean
  error: string
  /** ISO 8601, '' when it has not happened. */
  startedAt: string
  finishedAt: string
  restartCount: number
  health: { status: 'none' | 'starting' | 'healthy' | 'unhealthy'; failures: number; log: HealthResult[] }
  network: NetworkState | undefined
  cgroup: string
  /** Stopped by a user: `unless-stopped` leaves it so. */
  stoppedByUser: boolean
}

export interface HealthResult {
  start: string
  end: string
  exitCode: number
  output: string
}

export interface NetworkState {
  name: string
  address: string
  prefix: number
  gateway: string
  mac: string
  /** Host side of the veth pair. */
  link: string
  ports: PortMapping[]
  /** The program that carries an ordinary user's packets. */
  helper?: { pid: number; start: string }
}

export const freshState: ContainerState = {
  status: 'created',
  pid: 0,
  pidStart: '',
  supervisor: 0,
  supervisorStart: '',
  boot: '',
  exitCode: 0,
  oomKilled: false,
  error: '',
  startedAt: '',
  finishedAt: '',
  restartCount: 0,
  health: { status: 'none', failures: 0, log: [] },
  network: undefined,
  cgroup: '',
  stoppedByUser: false,
}

/** A config with nothing asked for: what `create` starts from. */
export function freshConfig(id: string, name: string, root: ContainerRoot): ContainerConfig {
  return {
    id,
    name,
    created: new Date().toISOString(),
    root,
    args: [],
    entrypoint: [],
    env: [],
    workdir: '/',
    user: '',
    groupAdd: [],
    hostname: id.slice(0, 12),
    domainname: '',
    tty: false,
    interactive: false,
    labels: {},
    autoRemove: false,
    init: false,
    readOnly: false,
    privileged: false,
    capAdd: [],
    capDrop: [],
    noNewPrivileges: false,
    seccomp: 'default',
    unmasked: false,
    mounts: [],
    devices: [],
    ulimits: [],
    sysctls: {},
    shmSize: 64 << 20,
    network: 'none',
    networkAliases: [],
    ports: [],
    publishAll: false,
    exposed: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
    pid: 'private',
    ipc: 'private',
    uts: 'private',
    cgroupns: 'private',
    cgroupParent: '/lamina',
    resources: {},
    oomScoreAdj: 0,
    restart: { name: 'no', retries: 0 },
    stopSignal: 'SIGTERM',
    stopTimeout: 10,
    health: undefined,
    log: { maxSize: 0, maxFiles: 1, off: false },
    runtime: '',
  }
}
