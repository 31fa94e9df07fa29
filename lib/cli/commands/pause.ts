/** `lamina pause`. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'pause <container..>',
  describe: 'Freeze every process of containers',
  builder: {},
  async handler(args, context) {
    const { setFrozen } = await import('../freeze-command.js')
    await setFrozen(args.container, true, context)
  },
})
