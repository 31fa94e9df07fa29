/** `lamina pull`: an image from a registry. */
import { defineCommand } from '../command.js'
import { importProgress } from '../image-progress.js'

export const command = defineCommand({
  command: 'pull <image>',
  describe: 'Fetch an image from a registry',
  builder: {
    platform: { type: 'string', requiresArg: true, describe: 'os/architecture[/variant]; default: this machine' },
    'tls-verify': {
      type: 'boolean',
      default: true,
      describe: 'Check certificates; --no-tls-verify also allows plain HTTP',
    },
    quiet: { alias: 'q', type: 'boolean', describe: 'Print the image ID only' },
  },
  examples: [
    ['pull debian:12', 'From Docker Hub'],
    ['pull localhost:5000/mine:1', 'From a registry of one’s own'],
  ],
  async handler(args, { root, stdout, stderr }) {
    const [{ Store }, { pullImage }, { parseReference, formatReference }, { closeConnections }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/pull.js'),
      import('../../image/reference.js'),
      import('../../image/http.js'),
    ])
    const progress = importProgress(stderr, args.quiet === true)
    try {
      const { image, digest, upToDate } = await pullImage(Store.open(root), args.image, {
        platform: args.platform,
        tlsVerify: args.tlsVerify,
        events: progress,
      })
      progress.close()
      if (args.quiet === true) stdout.write(`${image.id}\n`)
      else {
        const name = formatReference(parseReference(args.image))
        stdout.write(`Digest: ${digest}\n`)
        stdout.write(
          `Status: ${upToDate ? 'Image is up to date' : 'Downloaded newer image'} for ${args.image}\n${name}\n`,
        )
      }
    } finally {
      progress.close()
      closeConnections()
    }
  },
})
