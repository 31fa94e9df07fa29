/** `lamina pause`. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'pause <container..>',
  describe: 'Freeze every process of containers',
  builder: {},
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ freezeContainer }, { printable }] = await Promise.all([
      import('../../runtime/freeze.js'),
      import('../printable.js'),
    ])
    for (const name of args.container) {
      await freezeContainer(containers, await containers.find(name), true)
      stdout.write(`${printable(name)}\n`)
    }
  },
})
