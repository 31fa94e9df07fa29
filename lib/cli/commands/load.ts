/** `lamina load`: images from an archive or a layout directory. */
import { defineCommand, UsageError } from '../command.js'
import { importProgress } from '../image-progress.js'

export const command = defineCommand({
  command: 'load',
  describe: 'Load images from an archive (docker save, OCI) or an OCI layout directory',
  builder: {
    input: { alias: 'i', type: 'string', requiresArg: true, describe: 'File or directory; default: standard input' },
    name: { type: 'string', requiresArg: true, describe: 'Name for the image, instead of those in the archive' },
    platform: {
      type: 'string',
      requiresArg: true,
      describe: 'os/architecture[/variant] to take from a multi-platform image',
    },
    quiet: { alias: 'q', type: 'boolean', describe: 'No progress' },
  },
  examples: [
    ['load -i debian.tar', 'From a file'],
    ['load < debian.tar.gz', 'From a pipe, compressed or not'],
  ],
  async handler(args, { root, stdin, stdout, stderr }) {
    if (args.input === undefined && stdin.isTTY)
      throw new UsageError('standard input is a terminal: use -i FILE or a pipe')
    const [{ Store }, { loadImages }, { familiarName }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/load.js'),
      import('../../image/reference.js'),
    ])
    const progress = importProgress(stderr, args.quiet === true)
    try {
      const images = await loadImages(Store.open(root), args.input ?? stdin, {
        name: args.name,
        platform: args.platform,
        events: progress,
      })
      progress.close()
      for (const image of images)
        if (image.names.length === 0) stdout.write(`Loaded image ID: ${image.id}\n`)
        else for (const name of image.names) stdout.write(`Loaded image: ${familiarName(name)}\n`)
    } finally {
      progress.close()
    }
  },
})
