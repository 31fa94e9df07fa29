/** `lamina unpause`. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'unpause <container..>',
  describe: 'Let frozen containers go on',
  builder: {},
  async handler(args, context) {
    const { setFrozen } = await import('../freeze-command.js')
    await setFrozen(args.container, false, context)
  },
})
