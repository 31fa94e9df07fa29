/** `lamina start`: starts containers that were made or have ended. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'start <container..>',
  describe: 'Start containers that do not run',
  builder: {
    attach: { alias: 'a', type: 'boolean', describe: 'Attach to its output, and return its exit code' },
    interactive: { alias: 'i', type: 'boolean', describe: 'Attach to its input too' },
    'detach-keys': { type: 'string', default: 'ctrl-p,ctrl-q', describe: 'Keys that leave it running' },
    'sig-proxy': { type: 'boolean', default: true, describe: 'Forward signals to the process' },
  },
  runsProcess: true,
  async handler(args, { root, runRoot, stdin, stdout, stderr }) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate({ root, runRoot })
    if (elsewhere !== undefined) return elsewhere
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const attached = args.attach === true || args.interactive === true
    if (attached && args.container.length > 1) throw new UsageError('only one container can be attached to')
    const [{ startInBackground }, { printable }] = await Promise.all([
      import('../../runtime/background.js'),
      import('../printable.js'),
    ])
    for (const name of args.container) {
      const container = await containers.find(name)
      if (container.state.status === 'running') continue
      if (attached) {
        const { runApart } = await import('../run-apart.js')
        container.config.interactive &&= args.interactive === true
        return runApart(containers, container, args, { stdin, stdout, stderr })
      }
      await startInBackground(containers, container).started
      stdout.write(`${printable(name)}\n`)
    }
    return 0
  },
})
