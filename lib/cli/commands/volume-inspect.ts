/** `lamina volume inspect`. */
import { defineCommand } from '../command.js'
import { inspectFormat, printInspected } from '../format.js'

export const command = defineCommand({
  command: 'volume inspect <name..>',
  describe: 'Show all that is known of volumes',
  builder: inspectFormat,
  async handler(args, { root, stdout }) {
    const [{ listVolumes, volumeData }, { RuntimeError }] = await Promise.all([
      import('../../runtime/volumes.js'),
      import('../../runtime/error.js'),
    ])
    const all = listVolumes(root)
    const found = args.name.map(name => {
      const v = all.find(one => one.name === name)
      if (v === undefined) throw new RuntimeError('NO_SUCH_VOLUME', `no such volume: ${name}`)
      return {
        Name: v.name,
        CreatedAt: v.created,
        Driver: 'local',
        Labels: v.labels,
        Mountpoint: volumeData(root, v.name),
      }
    })
    printInspected(stdout, found, args.format)
  },
})
