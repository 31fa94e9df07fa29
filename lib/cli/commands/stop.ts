/** `lamina stop`: ends containers, asking first. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'stop <container..>',
  describe: 'Stop containers: their stop signal, and SIGKILL after a while',
  builder: {
    time: { alias: ['t', 'timeout'], type: 'string', describe: 'Seconds to wait before SIGKILL; -1: for ever' },
    signal: { alias: 's', type: 'string', describe: 'Signal to ask with' },
  },
  async handler(args, { root, runRoot, stdout }) {
    if (args.time !== undefined && !/^-?\d+$/.test(args.time)) throw new UsageError(`--time ${args.time}: is no number`)
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ stopContainer }, { stopSignalOf }, { printable }] = await Promise.all([
      import('../../runtime/stop.js'),
      import('../../runtime/supervisor.js'),
      import('../printable.js'),
    ])
    const list = []
    for (const name of args.container) list.push({ name, container: await containers.find(name) })
    await Promise.all(
      list.map(async ({ name, container }) => {
        const { config, state } = container
        if (state.status === 'running')
          await stopContainer(
            containers,
            container,
            stopSignalOf(args.signal ?? config.stopSignal),
            args.time === undefined ? config.stopTimeout : Number(args.time),
          )
        stdout.write(`${printable(name)}\n`)
      }),
    )
  },
})
