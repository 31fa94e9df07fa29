/**
 * Owns which file each limit is written to, and in what form: cgroup v1 and v2 (Documentation/admin-guide/cgroup-v1,
 * cgroup-v2.rst). Pure: resources and hierarchies in, a list of writes out.
 */
import type { OciResources } from '../oci.js'
import { withController, type Hierarchy } from './hierarchy.js'

export interface LimitFile {
  controller: string
  file: string
  value: string
  /** The option of the command line, for messages. */
  option: string
  /** Nobody asked for it by name: it is left out where the kernel has no such file. */
  implied?: boolean
}

/** The writes for `r`, in an order in which the kernel takes them. */
export function limitFiles(r: OciResources, all: readonly Hierarchy[]): LimitFile[] {
  const list: LimitFile[] = []
  const version = (controller: string): 1 | 2 => withController(all, controller)?.version ?? 2
  const put = (
    option: string,
    controller: string,
    v1: [string, string] | undefined,
    v2: [string, string] | undefined,
    implied = false,
  ) => {
    const chosen = version(controller) === 1 ? v1 : v2
    if (chosen !== undefined) list.push({ controller, file: chosen[0], value: chosen[1], option, implied })
  }
  const hasBlkio = withController(all, 'blkio') !== undefined
  const max = (n: number): string => (n < 0 ? 'max' : String(n))
  const { memory, cpu, pids, blockIO } = r
  if (memory?.limit !== undefined)
    put('--memory', 'memory', ['memory.limit_in_bytes', String(memory.limit)], ['memory.max', max(memory.limit)])
  // As much swap as memory when nothing is said (Docker's rule): else a limit of memory limits nothing.
  const swap = memory?.swap ?? (memory?.limit === undefined ? undefined : memory.limit * 2)
  if (swap !== undefined) {
    // v1 counts memory and swap together, v2 swap alone.
    const alone = swap < 0 ? 'max' : String(Math.max(0, swap - (memory?.limit ?? 0)))
    const implied = memory?.swap === undefined
    const both: [string, string] = ['memory.memsw.limit_in_bytes', String(swap)]
    put('--memory-swap', 'memory', both, ['memory.swap.max', alone], implied)
  }
  if (memory?.reservation !== undefined) {
    const value = String(memory.reservation)
    put(
      '--memory-reservation',
      'memory',
      ['memory.soft_limit_in_bytes', value],
      ['memory.low', max(memory.reservation)],
    )
  }
  if (memory?.swappiness !== undefined)
    put('--memory-swappiness', 'memory', ['memory.swappiness', String(memory.swappiness)], undefined)
  if (memory?.disableOOMKiller === true)
    put('--oom-kill-disable', 'memory', ['memory.oom_control', '1'], ['memory.oom_control', '1'])
  if (cpu?.shares !== undefined)
    put('--cpu-shares', 'cpu', ['cpu.shares', String(cpu.shares)], ['cpu.weight', String(weightOf(cpu.shares))])
  if (cpu?.period !== undefined || cpu?.quota !== undefined) {
    const period = cpu.period ?? 100_000
    const quota = cpu.quota ?? -1
    if (version('cpu') === 1) {
      put('--cpu-period', 'cpu', ['cpu.cfs_period_us', String(period)], undefined)
      put('--cpus', 'cpu', ['cpu.cfs_quota_us', String(quota)], undefined)
    } else put('--cpus', 'cpu', undefined, ['cpu.max', `${max(quota)} ${period}`])
  }
  if (cpu?.cpus !== undefined) put('--cpuset-cpus', 'cpuset', ['cpuset.cpus', cpu.cpus], ['cpuset.cpus', cpu.cpus])
  if (cpu?.mems !== undefined) put('--cpuset-mems', 'cpuset', ['cpuset.mems', cpu.mems], ['cpuset.mems', cpu.mems])
  if (pids !== undefined) {
    const value = pids.limit <= 0 ? 'max' : String(pids.limit)
    put('--pids-limit', 'pids', ['pids.max', value], ['pids.max', value])
  }
  if (blockIO?.weight !== undefined) {
    const value = String(blockIO.weight)
    put('--blkio-weight', 'blkio', ['blkio.bfq.weight', value], undefined)
    put('--blkio-weight', 'io', undefined, hasBlkio ? undefined : ['io.bfq.weight', value])
  }
  for (const { major, minor, weight } of blockIO?.weightDevice ?? []) {
    const value = `${major}:${minor} ${weight}`
    if (hasBlkio) put('--blkio-weight-device', 'blkio', ['blkio.bfq.weight_device', value], undefined)
    else put('--blkio-weight-device', 'io', undefined, ['io.bfq.weight', value])
  }
  const throttle = (
    option: string,
    devices: readonly { major: number; minor: number; rate: number }[] | undefined,
    v1: string,
    v2: string,
  ): void => {
    for (const { major, minor, rate } of devices ?? []) {
      const device = `${major}:${minor}`
      if (hasBlkio) put(option, 'blkio', [v1, `${device} ${rate}`], undefined)
      else put(option, 'io', undefined, ['io.max', `${device} ${v2}=${rate}`])
    }
  }
  throttle('--device-read-bps', blockIO?.throttleReadBpsDevice, 'blkio.throttle.read_bps_device', 'rbps')
  throttle('--device-write-bps', blockIO?.throttleWriteBpsDevice, 'blkio.throttle.write_bps_device', 'wbps')
  throttle('--device-read-iops', blockIO?.throttleReadIOPSDevice, 'blkio.throttle.read_iops_device', 'riops')
  throttle('--device-write-iops', blockIO?.throttleWriteIOPSDevice, 'blkio.throttle.write_iops_device', 'wiops')
  for (const rule of r.devices ?? []) {
    if (version('devices') !== 1) continue
    const whole = (rule.type ?? 'a') === 'a' && rule.major === undefined && rule.minor === undefined
    const value = whole ? 'a' : deviceRuleText(rule)
    list.push({ controller: 'devices', file: rule.allow ? 'devices.allow' : 'devices.deny', value, option: '--device' })
  }
  return list
}

/** `c 42:* rwm` (cgroup-v1/devices.rst). */
export function deviceRuleText(rule: NonNullable<OciResources['devices']>[number]): string {
  return `${rule.type ?? 'a'} ${rule.major ?? '*'}:${rule.minor ?? '*'} ${rule.access}`
}

/** cpu.shares (2..262144) as cpu.weight (1..10000), by the formula that OCI runtimes share. */
export function weightOf(shares: number): number {
  return shares === 0 ? 0 : Math.floor(1 + ((shares - 2) * 9999) / 262142)
}
