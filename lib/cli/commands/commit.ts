/** `lamina commit`: what a container changed becomes a layer of a new image. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'commit <container> [name]',
  describe: "Make an image of a container's changes",
  builder: {
    author: { alias: 'a', type: 'string', requiresArg: true, describe: 'Who made it' },
    message: { alias: 'm', type: 'string', requiresArg: true, describe: 'Comment for the history' },
    change: {
      alias: 'c',
      type: 'string',
      array: true,
      requiresArg: true,
      describe: 'Dockerfile instruction for the config, e.g. \'CMD ["bash"]\'',
    },
    pause: { alias: 'p', type: 'boolean', default: true, describe: 'Freeze the container meanwhile' },
  },
  examples: [['commit work mine:1', 'Only what changed is read']],
  epilogue:
    'SOURCE_DATE_EPOCH (seconds) fixes the time of the image and the latest of its files. A running container stands still while its changes are read; with --no-pause, and for a user who has no freezer cgroup, it is committed as it is found.',
  looksInto: args => [args.container],
  enters: true,
  async handler(args, { root, runRoot, stdout, stderr }) {
    const [{ Containers }, { Store }, { ImageWriter }, { commitUpper }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../image/store.js'),
      import('../../image/writer.js'),
      import('../../image/commit.js'),
    ])
    const containers = new Containers(root, runRoot)
    const container = await containers.find(args.container)
    const writer = await ImageWriter.open(Store.open(root))
    const { containerBase, containerUpper } = await import('../container-base.js')
    const base = await containerBase(writer.store, container.config.root)
    const commit = async (): Promise<string> => {
      const upper = await containerUpper(container, base.lowers)
      try {
        const epoch = process.env['SOURCE_DATE_EPOCH']
        const image = await commitUpper(writer, upper, base.lowers, base.image, {
          names: args.name === undefined ? [] : [args.name],
          author: args.author,
          message: args.message,
          changes: args.change ?? [],
          createdBy: container.config.args.join(' '),
          clock: epoch !== undefined && /^\d+$/.test(epoch) ? Number(epoch) : undefined,
          warn: line => stderr.write(`warning: ${line}\n`),
        })
        return image.id
      } finally {
        upper.close()
      }
    }
    try {
      const { whileFrozen } = await import('../../runtime/freeze.js')
      stdout.write(`${args.pause ? await whileFrozen(containers, container, commit) : await commit()}\n`)
    } finally {
      for (const layer of base.lowers) layer.close()
      writer.close()
    }
  },
})
