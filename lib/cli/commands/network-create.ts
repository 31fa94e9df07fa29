/** `lamina network create`. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'network create <name>',
  describe: 'Make a network',
  builder: {
    subnet: { type: 'string', describe: '10.1.0.0/24; a free one without' },
    gateway: { type: 'string', describe: 'Address of the host on it' },
    internal: { type: 'boolean', describe: 'Without a way out' },
    label: { type: 'string', array: true, describe: 'Label: name=value' },
    driver: { alias: 'd', type: 'string', choices: ['bridge'], describe: 'bridge' },
  },
  async handler(args, { root, stdout }) {
    const [{ addNetwork, lockNetworks }, { pair }] = await Promise.all([
      import('../../runtime/network/networks.js'),
      import('../../runtime/options.js'),
    ])
    const labels = Object.fromEntries((args.label ?? []).map(l => pair('--label', l)))
    const { subnet, gateway, internal } = args
    const network = await lockNetworks(root, () =>
      addNetwork(root, args.name, { subnet, gateway, internal: internal === true, labels }),
    )
    stdout.write(`${network.name}\n`)
  },
})
