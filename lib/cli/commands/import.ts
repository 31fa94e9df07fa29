/** `lamina import`: a root filesystem tar becomes an image. */
import { createReadStream } from 'node:fs'
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'import <file> [name]',
  describe: 'Make an image of a root filesystem tar',
  builder: {
    change: {
      alias: 'c',
      type: 'string',
      array: true,
      requiresArg: true,
      describe: 'Dockerfile instruction for the config, e.g. \'CMD ["bash"]\'',
    },
    message: { alias: 'm', type: 'string', requiresArg: true, describe: 'Comment for the history' },
    platform: { type: 'string', requiresArg: true, describe: 'os/architecture[/variant] of what is in the tar' },
  },
  examples: [
    ['import rootfs.tar.gz mine:1', 'From a file'],
    ['import - mine:1 < rootfs.tar', 'From a pipe'],
  ],
  async handler(args, { root, stdin, stdout }) {
    const [{ Store }, { importRootfs }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/import-rootfs.js'),
    ])
    const source = args.file === '-' ? stdin : createReadStream(args.file, { highWaterMark: 1 << 18 })
    const image = await importRootfs(Store.open(root), source, {
      name: args.name,
      message: args.message,
      changes: args.change ?? [],
      platform: args.platform,
    })
    stdout.write(`${image.id}\n`)
  },
})
