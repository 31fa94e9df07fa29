/** `lamina network rm`. */
import { defineCommand } from '../command.js'
import { printable } from '../printable.js'

export const command = defineCommand({
  command: 'network rm <name..>',
  describe: 'Remove networks that nobody uses',
  builder: {},
  async handler(args, { root, stdout }) {
    const { deleteNetwork, lockNetworks } = await import('../../runtime/network/networks.js')
    for (const name of args.name) {
      await lockNetworks(root, () => deleteNetwork(root, name))
      stdout.write(`${printable(name)}\n`)
    }
  },
})
