/** `lamina network ls`. */
import { defineCommand, jsonOption, quietOption } from '../command.js'
import { formatOption } from '../format.js'

export const command = defineCommand({
  command: 'network ls',
  describe: 'List networks',
  builder: { ...jsonOption, ...quietOption, ...formatOption },
  async handler(args, { root, stdout }) {
    const [{ findNetwork, listNetworks, lockNetworks, readLeases }, { printJson, printTable }] = await Promise.all([
      import('../../runtime/network/networks.js'),
      import('../print.js'),
    ])
    await lockNetworks(root, () => findNetwork(root, 'bridge'))
    const list = listNetworks(root).map(n => ({ ...n, containers: Object.keys(readLeases(root, n.name)).length }))
    if (args.json === true) return printJson(stdout, list)
    if (args.format !== undefined) {
      const { printFormatted } = await import('../format.js')
      const views = list.map(n => ({
        ID: n.name,
        Name: n.name,
        Driver: 'bridge',
        Scope: 'local',
        Subnet: `${n.subnet}/${n.prefix}`,
        Gateway: n.gateway,
        Internal: n.internal,
        Containers: n.containers,
      }))
      return printFormatted(stdout, views, args.format, { ID: 'NETWORK ID' })
    }
    if (args.quiet === true) return void stdout.write(list.map(n => `${n.name}\n`).join(''))
    printTable(stdout, list, [
      { heading: 'NAME', cell: n => n.name },
      { heading: 'SUBNET', cell: n => `${n.subnet}/${n.prefix}` },
      { heading: 'GATEWAY', cell: n => n.gateway },
      { heading: 'INTERNAL', cell: n => String(n.internal) },
      { heading: 'CONTAINERS', cell: n => String(n.containers), right: true },
    ])
  },
})
