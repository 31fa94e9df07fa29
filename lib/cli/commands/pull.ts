/** `lamina pull`: an image from a registry. */
import { defineCommand } from '../command.js'
import { importProgress } from '../image-progress.js'

export const command = defineCommand({
  command: 'pull <image>',
  describe: 'Fetch an image from a registry',
  builder: {
    'all-tags': { alias: 'a', type: 'boolean', describe: 'Every tag that the registry has of IMAGE' },
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
    ['pull -a localhost:5000/mine', 'All of its tags'],
  ],
  async handler(args, { root, stdout, stderr }) {
    const [{ Store }, { pullImage, remoteTags }, { parseReference, formatReference }, { closeConnections }] =
      await Promise.all([
        import('../../image/store.js'),
        import('../../image/pull.js'),
        import('../../image/reference.js'),
        import('../../image/http.js'),
      ])
    const store = Store.open(root)
    const options = { platform: args.platform, tlsVerify: args.tlsVerify }
    const pull = async (image: string): Promise<void> => {
      const progress = importProgress(stderr, args.quiet === true)
      try {
        const pulled = await pullImage(store, image, { ...options, events: progress })
        progress.close()
        if (args.quiet === true) return void stdout.write(`${pulled.image.id}\n`)
        const name = formatReference(parseReference(image))
        stdout.write(`Digest: ${pulled.digest}\n`)
        stdout.write(
          `Status: ${pulled.upToDate ? 'Image is up to date' : 'Downloaded newer image'} for ${image}\n${name}\n`,
        )
      } finally {
        progress.close()
      }
    }
    try {
      if (args.allTags !== true) {
        await pull(args.image)
        return 0
      }
      const { eachTag } = await import('../each-tag.js')
      return await eachTag('pull', await remoteTags(args.image, options), stderr, pull)
    } finally {
      closeConnections()
    }
  },
})
