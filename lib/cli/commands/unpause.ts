/** `lamina unpause`. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'unpause <container..>',
  describe: 'Let frozen containers go on',
  builder: {},
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ freezeContainer }, { printable }] = await Promise.all([
      import('../../runtime/freeze.js'),
      import('../printable.js'),
    ])
    for (const name of args.container) {
      await freezeContainer(containers, await containers.find(name), false)
      stdout.write(`${printable(name)}\n`)
    }
  },
})
