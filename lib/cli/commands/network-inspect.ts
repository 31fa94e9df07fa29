/** `lamina network inspect`. */
import { defineCommand } from '../command.js'
import { inspectFormat, printInspected } from '../format.js'

export const command = defineCommand({
  command: 'network inspect <name..>',
  describe: 'Show all that is known of networks',
  builder: inspectFormat,
  async handler(args, { root, stdout }) {
    const { findNetwork, lockNetworks, readLeases } = await import('../../runtime/network/networks.js')
    const found = await lockNetworks(root, () =>
      args.name.map(name => {
        const n = findNetwork(root, name)
        return {
          Name: n.name,
          Created: n.created,
          Driver: 'bridge',
          Internal: n.internal,
          IPAM: { Config: [{ Subnet: `${n.subnet}/${n.prefix}`, Gateway: n.gateway }] },
          Interface: n.link,
          Labels: n.labels,
          Containers: Object.fromEntries(
            Object.entries(readLeases(root, name)).map(([address, { id, names }]) => [
              id,
              { Name: names[0] ?? '', IPv4Address: `${address}/${n.prefix}` },
            ]),
          ),
        }
      }),
    )
    printInspected(stdout, found, args.format)
  },
})
