/** Owns the limits among the options of run, create and update, as the resources of an OCI spec. */
import type { ContainerConfig } from '../runtime/config.js'
import { UsageError } from './command.js'
import type { RunArgs } from './run-options.js'

/** A whole number from `min` to `max`; undefined when there is none. Throws UsageError. */
export function number(option: string, value: string | undefined, min: number, max: number): number | undefined {
  if (value === undefined) return undefined
  const n = Number(value)
  if (!/^-?\d+$/.test(value) || n < min || n > max)
    throw new UsageError(`${option} ${value}: is no number from ${min} to ${max}`)
  return n
}

/** The limits among the options; `update` uses the same. */
export async function resourcesOf(args: Partial<RunArgs>): Promise<ContainerConfig['resources']> {
  const o = await import('../runtime/options.js')
  const r: ContainerConfig['resources'] = {}
  const memory: NonNullable<typeof r.memory> = {}
  if (args.memory !== undefined) {
    memory.limit = o.bytes('--memory', args.memory)
    if (memory.limit < 6 << 20) throw new UsageError(`--memory ${args.memory}: at least 6m`)
  }
  if (args.memorySwap !== undefined) {
    if (memory.limit === undefined) throw new UsageError('--memory-swap needs --memory')
    memory.swap = o.bytes('--memory-swap', args.memorySwap, true)
    if (memory.swap >= 0 && memory.swap < memory.limit)
      throw new UsageError(`--memory-swap ${args.memorySwap}: counts memory and swap, so it is at least --memory`)
  }
  if (args.memoryReservation !== undefined) memory.reservation = o.bytes('--memory-reservation', args.memoryReservation)
  const swappiness = number('--memory-swappiness', args.memorySwappiness, 0, 100)
  if (swappiness !== undefined) memory.swappiness = swappiness
  if (args.oomKillDisable === true) memory.disableOOMKiller = true
  if (Object.keys(memory).length > 0) r.memory = memory
  const cpu: NonNullable<typeof r.cpu> = {}
  if (args.cpus !== undefined) Object.assign(cpu, o.cpuQuota(args.cpus))
  const shares = number('--cpu-shares', args.cpuShares, 2, 262144)
  if (shares !== undefined) cpu.shares = shares
  const period = number('--cpu-period', args.cpuPeriod, 1000, 1000000)
  if (period !== undefined) cpu.period = period
  const quota = number('--cpu-quota', args.cpuQuota, 1000, 1e12)
  if (quota !== undefined) cpu.quota = quota
  if (args.cpus !== undefined && (period !== undefined || quota !== undefined))
    throw new UsageError('--cpus excludes --cpu-period and --cpu-quota')
  if (args.cpusetCpus !== undefined) cpu.cpus = o.cpuList('--cpuset-cpus', args.cpusetCpus)
  if (args.cpusetMems !== undefined) cpu.mems = o.cpuList('--cpuset-mems', args.cpusetMems)
  if (Object.keys(cpu).length > 0) r.cpu = cpu
  const pids = number('--pids-limit', args.pidsLimit, -1, 4194304)
  if (pids !== undefined) r.pids = { limit: pids }
  const block: NonNullable<typeof r.blockIO> = {}
  const weight = number('--blkio-weight', args.blkioWeight, 10, 1000)
  if (weight !== undefined) block.weight = weight
  const { deviceWeights, throttles } = await import('../runtime/throttles.js')
  if (args.blkioWeightDevice) block.weightDevice = deviceWeights('--blkio-weight-device', args.blkioWeightDevice)
  if (args.deviceReadBps) block.throttleReadBpsDevice = throttles('--device-read-bps', args.deviceReadBps, true)
  if (args.deviceWriteBps) block.throttleWriteBpsDevice = throttles('--device-write-bps', args.deviceWriteBps, true)
  if (args.deviceReadIops) block.throttleReadIOPSDevice = throttles('--device-read-iops', args.deviceReadIops, false)
  if (args.deviceWriteIops)
    block.throttleWriteIOPSDevice = throttles('--device-write-iops', args.deviceWriteIops, false)
  if (Object.keys(block).length > 0) r.blockIO = block
  return r
}
