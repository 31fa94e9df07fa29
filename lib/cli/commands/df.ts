/** `lamina df`: what the store takes, and what sharing saves. */
import { defineCommand, jsonOption } from '../command.js'
import { size } from '../human.js'
import { printJson, printTable } from '../print.js'

export const command = defineCommand({
  command: 'df',
  describe: 'Show the disk space of images, and what sharing saves',
  builder: { ...jsonOption, verbose: { alias: 'v', type: 'boolean', describe: 'Show every image' } },
  async handler(args, { root, stdout }) {
    const [{ Store }, { diskUsage }, { familiarName }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/df.js'),
      import('../../image/reference.js'),
    ])
    const usage = diskUsage(Store.open(root))
    const images = usage.images.map(u => ({
      name: u.image.names.map(familiarName)[0] ?? '<none>',
      id: u.image.id,
      size: u.size,
      shared: u.shared,
      unique: u.unique,
      users: u.users,
    }))
    const { blobs, objects, indexes, users, saved, reclaimable } = usage
    if (args.json === true) return printJson(stdout, { blobs, objects, indexes, users, saved, reclaimable, images })
    const active = images.filter(i => i.users > 0).length
    const all = images.reduce((sum, i) => sum + i.size, 0)
    printTable(
      stdout,
      [
        ['Images', String(images.length), String(active), size(all), ''],
        ['File contents', String(objects.count), '', size(objects.disk), ''],
        ['Blobs as shipped', String(blobs.count), '', size(blobs.disk), ''],
        ['Indexes', String(indexes.count), '', size(indexes.disk), ''],
        ['Mounts and containers', String(users.count), String(users.count), size(users.disk), ''],
        ['On disk', '', '', size(objects.disk + blobs.disk + indexes.disk + users.disk), size(reclaimable)],
      ],
      [
        { heading: 'TYPE', cell: r => r[0] as string },
        { heading: 'TOTAL', cell: r => r[1] as string },
        { heading: 'ACTIVE', cell: r => r[2] as string },
        { heading: 'SIZE', cell: r => r[3] as string },
        { heading: 'RECLAIMABLE', cell: r => r[4] as string },
      ],
    )
    stdout.write(`Saved by keeping equal files once: ${size(saved)}\n`)
    if (args.verbose !== true) return
    stdout.write('\n')
    printTable(stdout, images, [
      { heading: 'IMAGE', cell: i => i.name },
      { heading: 'IMAGE ID', cell: i => i.id.slice(7, 19) },
      { heading: 'SIZE', cell: i => size(i.size) },
      { heading: 'SHARED SIZE', cell: i => size(i.shared) },
      { heading: 'UNIQUE SIZE', cell: i => size(i.unique) },
      { heading: 'USERS', cell: i => String(i.users) },
    ])
  },
})
