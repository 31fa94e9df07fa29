/** `lamina rollback`: makes a name mean the state after an earlier step. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'rollback <image> <step>',
  describe: 'Make an image name mean the state after an earlier step',
  builder: {
    tag: { alias: 't', type: 'string', requiresArg: true, describe: 'Name the state so instead of moving the name' },
  },
  examples: [
    ['rollback web:1 4', 'web:1 is what it was after step 4 (lamina history web:1); nothing is lost until prune'],
    ['rollback -t web:before web:1 4', 'The same state under another name'],
  ],
  async handler(args, { root, stdout }) {
    if (!/^\d+$/.test(args.step)) throw new UsageError(`step ${args.step} is no number (lamina history shows them)`)
    const { tagStep } = await import('../image-step.js')
    const id = await tagStep(root, args.image, Number(args.step), args.tag ?? args.image)
    stdout.write(`${id}\n`)
  },
})
