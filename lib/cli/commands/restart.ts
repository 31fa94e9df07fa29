/** `lamina restart`: stops and starts containers. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'restart <container..>',
  describe: 'Stop containers and start them again',
  builder: { time: { alias: ['t', 'timeout'], type: 'string', describe: 'Seconds to wait before SIGKILL' } },
  async handler(args, { root, runRoot, stdout }) {
    if (args.time !== undefined && !/^-?\d+$/.test(args.time)) throw new UsageError(`--time ${args.time}: is no number`)
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate({ root, runRoot })
    if (elsewhere !== undefined) return elsewhere
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ stopContainer }, { stopSignalOf }, { startInBackground }, { printable }] = await Promise.all([
      import('../../runtime/stop.js'),
      import('../../runtime/supervisor.js'),
      import('../../runtime/background.js'),
      import('../printable.js'),
    ])
    for (const name of args.container) {
      const container = await containers.find(name)
      const { config, state } = container
      const timeout = args.time === undefined ? config.stopTimeout : Number(args.time)
      if (state.status === 'running')
        await stopContainer(containers, container, stopSignalOf(config.stopSignal), timeout)
      await startInBackground(containers, await containers.find(container.id)).started
      stdout.write(`${printable(name)}\n`)
    }
    return 0
  },
})
