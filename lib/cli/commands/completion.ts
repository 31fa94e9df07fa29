/** `lamina completion`: the script that makes a shell complete verbs, options and names. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'completion <shell>',
  describe: 'Print the completion script for bash, zsh or fish',
  builder: {},
  examples: [
    ['completion bash > /etc/bash_completion.d/lamina', 'For every user of bash'],
    ['completion fish | source', 'For this fish session'],
  ],
  async handler({ shell }, { stdout }) {
    const { scripts } = await import('../complete.js')
    if (!Object.hasOwn(scripts, shell)) {
      const { UsageError } = await import('../command.js')
      throw new UsageError(`no completion for '${shell}': one of ${Object.keys(scripts).join(', ')}`)
    }
    stdout.write(scripts[shell as keyof typeof scripts])
  },
})
