/** `lamina tag`: gives an image another name. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'tag <source> <target>',
  describe: 'Give an image another name',
  builder: {},
  examples: [['tag debian:12 localhost:5000/debian:12', 'To push it there']],
  async handler(args, { root }) {
    const [{ Store }, { tagImage }] = await Promise.all([import('../../image/store.js'), import('../../image/tag.js')])
    await tagImage(Store.open(root), args.source, args.target)
  },
})
