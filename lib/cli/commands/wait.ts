/** `lamina wait`: waits for containers to end and prints their exit codes. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'wait <container..>',
  describe: 'Wait until containers have ended, and print their exit codes',
  builder: {},
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const { waitFor } = await import('../../runtime/wait.js')
    const list = []
    for (const name of args.container) list.push(await containers.find(name))
    for (const container of list) stdout.write(`${await waitFor(containers, container)}\n`)
  },
})
