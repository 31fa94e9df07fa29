/** `lamina rmi`: removes names and images. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'rmi <images..>',
  describe: 'Remove images',
  builder: {
    force: {
      alias: 'f',
      type: 'boolean',
      describe: 'Also with several names, or while a container uses it (it then goes with the container)',
    },
  },
  async handler(args, { root, stdout, stderr }) {
    const [{ Store }, { removeImage }, { failureLine }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/gc.js'),
      import('../failure.js'),
    ])
    const store = Store.open(root)
    let code = 0
    for (const image of args.images) {
      try {
        const removed = await removeImage(store, image, { force: args.force === true })
        for (const name of removed.untagged) stdout.write(`Untagged: ${name}\n`)
        for (const id of removed.deleted) stdout.write(`Deleted: ${id}\n`)
      } catch (error) {
        code = 1
        stderr.write(`${failureLine(error, 'rmi')}\n`)
      }
    }
    return code
  },
})
