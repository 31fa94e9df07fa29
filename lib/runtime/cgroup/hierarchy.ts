/**
 * Owns finding out how this machine does cgroups: by looking at what is mounted, controller by controller.
 * Invariant: a controller is used where it is found; v1, v2 and both at once (hybrid) are all one list of hierarchies.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Hierarchy {
  version: 1 | 2
  /** Last part of the mountpoint: `memory`, `cpu,cpuacct`, `unified`. */
  name: string
  mountpoint: string
  controllers: string[]
  /** Mount data that mounts the same hierarchy again (v1): `cpu,cpuacct` or `name=systemd`. */
  data: string
}

const v1Controllers = new Set(
  'cpu cpuacct cpuset memory devices freezer blkio pids hugetlb net_cls net_prio perf_event rdma misc'.split(' '),
)

/** Reads the hierarchies from /proc/self/mountinfo (proc(5)): the first mount of each whole hierarchy. */
export function hierarchies(mountinfo = readFileSync('/proc/self/mountinfo', 'latin1')): Hierarchy[] {
  const found: Hierarchy[] = []
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const [type, , superOptions = ''] = after.split(' ')
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    const mountpoint = (before.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, o: string) =>
      String.fromCharCode(parseInt(o, 8)),
    )
    const name = mountpoint.slice(mountpoint.lastIndexOf('/') + 1)
    if (type === 'cgroup2') {
      if (found.some(h => h.version === 2)) continue
      found.push({ version: 2, name, mountpoint, controllers: controllersOf(mountpoint), data: '' })
      continue
    }
    const options = superOptions.split(',')
    const controllers = options.filter(o => v1Controllers.has(o))
    const named = options.find(o => o.startsWith('name='))
    const data = named ?? controllers.join(',')
    if (data === '' || found.some(h => h.data === data)) continue
    found.push({ version: 1, name, mountpoint, controllers, data: named === undefined ? data : `none,${data}` })
  }
  return found
}

function controllersOf(mountpoint: string): string[] {
  try {
    return readFileSync(join(mountpoint, 'cgroup.controllers'), 'latin1').trim().split(' ').filter(Boolean)
  } catch {
    return []
  }
}

/** The hierarchy that has a controller, or undefined. */
export function withController(all: readonly Hierarchy[], controller: string): Hierarchy | undefined {
  return all.find(h => h.controllers.includes(controller))
}
