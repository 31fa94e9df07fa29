/** `lamina push`: an image to a registry. */
import { defineCommand, UsageError } from '../command.js'
import { progressOn } from '../progress.js'

export const command = defineCommand({
  command: 'push <image> [target]',
  describe: 'Send an image to a registry',
  builder: {
    'all-tags': { alias: 'a', type: 'boolean', describe: 'Every tag that IMAGE has here' },
    'tls-verify': {
      type: 'boolean',
      default: true,
      describe: 'Check certificates; --no-tls-verify also allows plain HTTP',
    },
    quiet: { alias: 'q', type: 'boolean', describe: 'No progress' },
  },
  examples: [
    ['push localhost:5000/mine:1', 'By its name'],
    ['push mine:1 registry.example.org/mine:1', 'Under another name'],
    ['push -a localhost:5000/mine', 'All of its tags'],
  ],
  async handler(args, { root, stdout, stderr }) {
    const [{ Store }, { localTags, pushImage }, { parseReference }, { closeConnections }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/push.js'),
      import('../../image/reference.js'),
      import('../../image/http.js'),
    ])
    if (args.allTags === true && args.target !== undefined)
      throw new UsageError('--all-tags sends images by their names: no TARGET')
    const store = Store.open(root)
    const short = (digest: string): string => digest.slice(7, 19)
    const words = { exists: 'Layer already exists', mounted: 'Mounted from another repository', pushed: 'Pushed' }
    const push = async (image: string, target: string): Promise<void> => {
      const lines = progressOn(stderr, args.quiet === true)
      const digest = await pushImage(store, image, target, {
        tlsVerify: args.tlsVerify,
        events: {
          layer: (id, _size, state) => lines.finish(short(id), words[state]),
          progress: (id, bytes) => lines.update(short(id), 'Pushing', bytes),
          retry: message => lines.note(message),
        },
      })
      lines.close()
      stdout.write(`${parseReference(target).tag ?? ''}: digest: ${digest}\n`)
    }
    try {
      if (args.allTags !== true) {
        await push(args.image, args.target ?? args.image)
        return 0
      }
      const { eachTag } = await import('../each-tag.js')
      return await eachTag('push', localTags(store, args.image), stderr, name => push(name, name))
    } finally {
      closeConnections()
    }
  },
})
