/** `lamina push`: an image to a registry. */
import { defineCommand } from '../command.js'
import { progressOn } from '../progress.js'

export const command = defineCommand({
  command: 'push <image> [target]',
  describe: 'Send an image to a registry',
  builder: {
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
  ],
  async handler(args, { root, stdout, stderr }) {
    const [{ Store }, { pushImage }, { parseReference }, { closeConnections }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/push.js'),
      import('../../image/reference.js'),
      import('../../image/http.js'),
    ])
    const lines = progressOn(stderr, args.quiet === true)
    const target = args.target ?? args.image
    const short = (digest: string): string => digest.slice(7, 19)
    const words = { exists: 'Layer already exists', mounted: 'Mounted from another repository', pushed: 'Pushed' }
    try {
      const digest = await pushImage(Store.open(root), args.image, target, {
        tlsVerify: args.tlsVerify,
        events: {
          layer: (id, _size, state) => lines.finish(short(id), words[state]),
          progress: (id, bytes) => lines.update(short(id), 'Pushing', bytes),
          retry: message => lines.note(message),
        },
      })
      lines.close()
      stdout.write(`${parseReference(target).tag ?? ''}: digest: ${digest}\n`)
    } finally {
      closeConnections()
    }
  },
})
