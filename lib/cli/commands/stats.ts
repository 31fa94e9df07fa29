/** `lamina stats`: what running containers use. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Container } from '../../runtime/containers.js'
import type { Sample } from '../../runtime/stats.js'
import { defineCommand, jsonOption } from '../command.js'
import { formatOption } from '../format.js'
import { size } from '../human.js'

export const command = defineCommand({
  command: 'stats [container..]',
  describe: 'Show CPU, memory, network, block I/O and processes of running containers',
  builder: {
    ...jsonOption,
    ...formatOption,
    all: { alias: 'a', type: 'boolean', describe: 'Those that do not run too' },
    'no-stream': { type: 'boolean', describe: 'Once, not again and again' },
    'no-trunc': { type: 'boolean', describe: 'Do not shorten' },
  },
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ cpuPercent, nothing, sample }, { printJson, printTable }, { RuntimeError }] = await Promise.all([
      import('../../runtime/stats.js'),
      import('../print.js'),
      import('../../runtime/error.js'),
    ])
    const runs = (c: Container): boolean => c.state.status === 'running' && c.state.pid > 0
    const measure = (c: Container): Sample => (runs(c) ? sample(c) : nothing)
    const chosen = async () => {
      if (args.container.length === 0) return (await containers.all()).filter(c => args.all === true || runs(c))
      const list = []
      for (const name of args.container) list.push(await containers.find(name))
      const idle = list.find(c => c.state.status !== 'running')
      if (idle !== undefined && args.all !== true)
        throw new RuntimeError('WRONG_STATE', `stats ${idle.config.name}: it is not running`)
      return list
    }
    for (;;) {
      const list = await chosen()
      const before = list.map(measure)
      await sleep(args.noStream === true ? 500 : 1000)
      const views = list.map((c, i) => {
        const now = measure(c)
        const cpu = cpuPercent(before[i] ?? now, now)
        return {
          ID: args.noTrunc === true ? c.id : c.id.slice(0, 12),
          Name: c.config.name,
          CPUPerc: `${cpu.toFixed(2)}%`,
          MemUsage: `${size(now.memory)} / ${size(now.memoryLimit)}`,
          MemPerc: `${((now.memory / (now.memoryLimit || 1)) * 100).toFixed(2)}%`,
          NetIO: `${size(now.received)} / ${size(now.sent)}`,
          BlockIO: `${size(now.read)} / ${size(now.written)}`,
          PIDs: String(now.pids),
        }
      })
      if (args.format !== undefined) {
        const { printFormatted } = await import('../format.js')
        printFormatted(stdout, views, args.format)
      } else if (args.json === true) printJson(stdout, views)
      else {
        if (args.noStream !== true && stdout.isTTY === true) stdout.write('\x1b[2J\x1b[H')
        printTable(stdout, views, [
          { heading: 'CONTAINER ID', cell: v => v.ID },
          { heading: 'NAME', cell: v => v.Name },
          { heading: 'CPU %', cell: v => v.CPUPerc },
          { heading: 'MEM USAGE / LIMIT', cell: v => v.MemUsage },
          { heading: 'MEM %', cell: v => v.MemPerc },
          { heading: 'NET I/O', cell: v => v.NetIO },
          { heading: 'BLOCK I/O', cell: v => v.BlockIO },
          { heading: 'PIDS', cell: v => v.PIDs },
        ])
      }
      if (args.noStream === true) return
    }
  },
})
