/** Owns the mounts that every container and build step has, as this user can make them; and where a container has mounts. */
import type { ContainerConfig } from './config.js'
import { defaultMounts, type OciMount } from './oci.js'
import { hasSingleId, isRootless } from './rootless.js'

/** `hostNetwork`: the process is in the host's network namespace. */
export function mountsForUser(shmSize: number, hostNetwork: boolean): OciMount[] {
  const mounts = defaultMounts(shmSize)
  return isRootless() ? mounts.map(m => withoutRoot(m, hostNetwork)) : mounts
}

function withoutRoot(m: OciMount, hostNetwork: boolean): OciMount {
  // Group 5 (tty) is not there in a namespace with a single id.
  if (m.type === 'devpts' && hasSingleId()) return { ...m, options: m.options.filter(o => o !== 'gid=5') }
  // sysfs shows a network namespace: one that this user namespace does not own cannot be mounted, only bound.
  if (m.destination === '/sys' && hostNetwork)
    return { destination: '/sys', type: 'bind', source: '/sys', options: ['rbind', 'ro', 'nosuid', 'noexec', 'nodev'] }
  return m
}

/** Absolute paths at which something is mounted in a container. */
export function mountpointsOf({ mounts, shmSize }: Pick<ContainerConfig, 'mounts' | 'shmSize'>): string[] {
  const files = ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf']
  return [...defaultMounts(shmSize), ...mounts].map(m => m.destination).concat(files)
}
