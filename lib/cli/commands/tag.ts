/** `lamina tag`: gives an image another name. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'tag <source> <target>',
  describe: 'Give an image, or an earlier step of it, another name',
  builder: {},
  examples: [
    ['tag web:1@4 web:before', 'The state of web:1 after step 4 (lamina history shows them)'],
    ['tag debian:12 localhost:5000/debian:12', 'To push it there'],
  ],
  async handler(args, { root }) {
    const { parseStep, tagStep } = await import('../image-step.js')
    const at = parseStep(args.source)
    if (at) {
      await tagStep(root, at.image, at.step, args.target)
      return
    }
    const [{ Store }, { tagImage }] = await Promise.all([import('../../image/store.js'), import('../../image/tag.js')])
    await tagImage(Store.open(root), args.source, args.target)
  },
})
