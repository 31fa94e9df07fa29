/** `lamina rm`: removes containers. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'rm <container..>',
  describe: 'Remove containers and what they wrote',
  builder: {
    force: { alias: 'f', type: 'boolean', describe: 'Kill them first if they run; one that is not there is fine' },
    volumes: { alias: 'v', type: 'boolean', describe: 'Remove their anonymous volumes too' },
  },
  async handler(args, { root, runRoot, stdout }) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate({ root, runRoot })
    if (elsewhere !== undefined) return elsewhere
    const [{ Containers }, { removeContainer }, { printable }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/remove.js'),
      import('../printable.js'),
    ])
    const containers = new Containers(root, runRoot)
    for (const name of args.container) {
      try {
        const container = await containers.find(name)
        await removeContainer(containers, container, { force: args.force === true, volumes: args.volumes === true })
      } catch (error) {
        if (args.force !== true || (error as { code?: string }).code !== 'NO_SUCH_CONTAINER') throw error
      }
      stdout.write(`${printable(name)}\n`)
    }
    return 0
  },
})
