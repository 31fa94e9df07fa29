/**
 * Owns the inner interface of the runtime: an OCI runtime bundle's config.json (runtime-spec 1.0), the part of it that
 * Lamina writes and carries out. `--runtime crun` gets the very same object.
 */
import type { SeccompProfile } from './seccomp/profile.js'

export interface OciUser {
  uid: number
  gid: number
  umask?: number
  additionalGids?: number[]
}

export interface OciProcess {
  terminal?: boolean
  consoleSize?: { width: number; height: number }
  user: OciUser
  args: string[]
  env: string[]
  cwd: string
  capabilities?: {
    bounding: string[]
    effective: string[]
    permitted: string[]
    inheritable: string[]
    ambient: string[]
  }
  rlimits?: { type: string; soft: number; hard: number }[]
  noNewPrivileges?: boolean
  oomScoreAdj?: number
}

export interface OciMount {
  destination: string
  type: string
  source: string
  options: string[]
}

export interface OciDevice {
  type: 'c' | 'b' | 'p' | 'u'
  path: string
  major: number
  minor: number
  fileMode?: number
  uid?: number
  gid?: number
}

export type NamespaceType = 'mount' | 'pid' | 'network' | 'ipc' | 'uts' | 'cgroup' | 'user'

export interface OciResources {
  devices?: { allow: boolean; type?: string; major?: number; minor?: number; access: string }[]
  memory?: { limit?: number; swap?: number; reservation?: number; swappiness?: number; disableOOMKiller?: boolean }
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string }
  pids?: { limit: number }
  blockIO?: {
    weight?: number
    weightDevice?: { major: number; minor: number; weight: number }[]
    throttleReadBpsDevice?: { major: number; minor: number; rate: number }[]
    throttleWriteBpsDevice?: { major: number; minor: number; rate: number }[]
    throttleReadIOPSDevice?: { major: number; minor: number; rate: number }[]
    throttleWriteIOPSDevice?: { major: number; minor: number; rate: number }[]
  }
}

export interface OciSpec {
  ociVersion: string
  process: OciProcess
  root: { path: string; readonly?: boolean }
  hostname?: string
  domainname?: string
  mounts: OciMount[]
  annotations?: Record<string, string>
  linux: {
    namespaces: { type: NamespaceType; path?: string }[]
    devices?: OciDevice[]
    cgroupsPath?: string
    resources?: OciResources
    maskedPaths?: string[]
    readonlyPaths?: string[]
    rootfsPropagation?: string
    sysctl?: Record<string, string>
    /** Docker's form; `seccompForOci` in spec.ts rewrites it for other runtimes. */
    seccomp?: SeccompProfile
  }
}

/** Paths of /proc and /sys that tell or change too much of the host (Docker's list, and podman's). */
export const maskedPaths: readonly string[] = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/dev/block',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
  '/sys/fs/selinux',
]

export const readonlyPaths: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
]

/** The mounts every container has; `cgroup` is written for whichever version the host has. */
export function defaultMounts(shmSize: number): OciMount[] {
  const m = (destination: string, type: string, source: string, ...options: string[]): OciMount => ({
    destination,
    type,
    source,
    options,
  })
  return [
    m('/proc', 'proc', 'proc', 'nosuid', 'noexec', 'nodev'),
    m('/dev', 'tmpfs', 'tmpfs', 'nosuid', 'noexec', 'strictatime', 'mode=755', 'size=65536k'),
    m('/dev/pts', 'devpts', 'devpts', 'nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
    m('/sys', 'sysfs', 'sysfs', 'nosuid', 'noexec', 'nodev', 'ro'),
    m('/sys/fs/cgroup', 'cgroup', 'cgroup', 'ro', 'nosuid', 'noexec', 'nodev'),
    m('/dev/mqueue', 'mqueue', 'mqueue', 'nosuid', 'noexec', 'nodev'),
    m('/dev/shm', 'tmpfs', 'shm', 'nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmSize}`),
  ]
}

/** Devices every container has: majors and minors of Documentation/admin-guide/devices.txt. */
export const defaultDevices: readonly OciDevice[] = (
  [
    ['null', 1, 3],
    ['zero', 1, 5],
    ['full', 1, 7],
    ['random', 1, 8],
    ['urandom', 1, 9],
    ['tty', 5, 0],
  ] as const
).map(([name, major, minor]) => ({ type: 'c', path: `/dev/${name}`, major, minor, fileMode: 0o666, uid: 0, gid: 0 }))

/** What the devices cgroup lets through: mknod of anything, use of the default devices and ptys. */
export const defaultDeviceRules: NonNullable<OciResources['devices']> = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...defaultDevices.map(({ major, minor }) => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' },
  { allow: true, type: 'c', major: 136, access: 'rwm' },
]
