/** `lamina mounts`: what is mounted, whether it answers, and what the servers have had to do. */
import { defineCommand, jsonOption, quietOption } from '../command.js'
import type { MountStatus } from '../../mount/registry.js'
import { isWritable } from '../../mount/spec.js'
import { ago } from '../human.js'
import { printJson, printTable } from '../print.js'
import { printable } from '../printable.js'
import { realPlace } from './mount.js'

export const command = defineCommand({
  command: 'mounts [mountpoint..]',
  describe: 'List mounts and whether they answer',
  builder: {
    ...jsonOption,
    ...quietOption,
    stats: { alias: 's', type: 'boolean', describe: 'Requests each server has answered, by kind' },
    'no-trunc': { type: 'boolean', describe: 'Do not shorten' },
  },
  examples: [
    ['mounts', 'States: serving, hung (does not answer), dead (its server is gone: lamina unmount cleans up)'],
    ['mounts --stats /mnt', 'What the kernel has asked the server of /mnt'],
  ],
  async handler(args, { runRoot, stdout }) {
    const { listMounts } = await import('../../mount/registry.js')
    const asked = args.mountpoint.map(realPlace)
    const all = await listMounts(runRoot)
    const mounts =
      asked.length === 0 ? all : all.filter(m => asked.includes(m.mountpoint) || args.mountpoint.includes(m.id))
    const missing = args.mountpoint.filter((given, i) => !mounts.some(m => m.mountpoint === asked[i] || m.id === given))
    if (missing.length > 0) {
      const { MountError } = await import('../../mount/failure.js')
      throw new MountError('NOT_MOUNTED', `mounts ${missing[0]}: lamina is not mounted there`, missing[0])
    }
    const { readCounters } = await import('../../mount/counters.js')
    if (args.json === true)
      printJson(stdout, args.stats === true ? mounts.map(m => ({ ...m, requests: readCounters(m.stats) })) : mounts)
    else if (args.quiet === true) stdout.write(mounts.map(m => `${printable(m.mountpoint)}\n`).join(''))
    else if (args.stats === true)
      for (const mount of mounts) {
        stdout.write(`${printable(mount.mountpoint)}\n`)
        const counts = Object.entries(readCounters(mount.stats)).sort((a, b) => b[1] - a[1])
        for (const [kind, count] of counts) stdout.write(`  ${String(count).padStart(12)}  ${kind.toLowerCase()}\n`)
      }
    else printTable(stdout, mounts, columns(args.noTrunc === true))
    return 0
  },
})

function columns(whole: boolean) {
  const layers = (m: MountStatus): string => {
    const parts = [...(m.spec.upper === undefined ? [] : [m.spec.upper]), ...m.spec.lowers.map(lower => lower.path)]
    const shown = whole || parts.length <= 3 ? parts : [...parts.slice(0, 2), `… ${parts.length - 2} more`]
    return shown.join(' > ')
  }
  return [
    { heading: 'ID', cell: (m: MountStatus) => m.id },
    { heading: 'MOUNTPOINT', cell: (m: MountStatus) => m.mountpoint },
    { heading: 'STATE', cell: (m: MountStatus) => m.state },
    {
      heading: 'MODE',
      cell: (m: MountStatus) => (isWritable(m.spec) ? 'rw' : 'ro') + (m.spec.driver === 'overlay' ? ' overlay' : ''),
    },
    { heading: 'PID', cell: (m: MountStatus) => String(m.pid) },
    { heading: 'MOUNTED', cell: (m: MountStatus) => ago(Date.parse(m.since)) },
    { heading: 'LAYERS', cell: layers },
  ]
}
