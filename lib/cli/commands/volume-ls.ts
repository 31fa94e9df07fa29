/** `lamina volume ls`. */
import { defineCommand, jsonOption, quietOption } from '../command.js'
import { formatOption } from '../format.js'

export const command = defineCommand({
  command: 'volume ls',
  describe: 'List volumes',
  builder: { ...jsonOption, ...quietOption, ...formatOption },
  async handler(args, { root, stdout }) {
    const [{ listVolumes, volumeData }, { printJson, printTable }] = await Promise.all([
      import('../../runtime/volumes.js'),
      import('../print.js'),
    ])
    const list = listVolumes(root).map(v => ({ ...v, mountpoint: volumeData(root, v.name) }))
    if (args.json === true) return printJson(stdout, list)
    if (args.format !== undefined) {
      const { printFormatted } = await import('../format.js')
      const views = list.map(v => ({
        Name: v.name,
        Driver: 'local',
        Scope: 'local',
        Mountpoint: v.mountpoint,
        CreatedAt: v.created,
      }))
      return printFormatted(stdout, views, args.format, { Name: 'VOLUME NAME' })
    }
    if (args.quiet === true) return void stdout.write(list.map(v => `${v.name}\n`).join(''))
    printTable(stdout, list, [
      { heading: 'VOLUME NAME', cell: v => v.name },
      { heading: 'CREATED', cell: v => v.created },
      { heading: 'MOUNTPOINT', cell: v => v.mountpoint },
    ])
  },
})
