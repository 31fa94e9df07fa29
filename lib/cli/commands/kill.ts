/** `lamina kill`: sends containers a signal. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'kill <container..>',
  describe: 'Send a signal to containers',
  builder: { signal: { alias: 's', type: 'string', default: 'KILL', describe: 'Signal by name or number' } },
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ signalContainer }, { stopSignalOf }, { printable }] = await Promise.all([
      import('../../runtime/stop.js'),
      import('../../runtime/supervisor.js'),
      import('../printable.js'),
    ])
    const number = stopSignalOf(args.signal)
    for (const name of args.container) {
      await signalContainer(await containers.find(name), number)
      stdout.write(`${printable(name)}\n`)
    }
  },
})
