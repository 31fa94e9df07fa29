/** `lamina container prune`: removes containers that do not run. */
import { defineCommand } from '../command.js'
import { agreed, filterOption, forceOption, tellDeleted, tellReclaimed } from '../prune.js'

export const command = defineCommand({
  command: 'container prune',
  describe: 'Remove all containers that do not run, and what they wrote',
  builder: { ...filterOption, ...forceOption },
  async handler(args, context) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate(context)
    if (elsewhere !== undefined) return elsewhere
    const [{ Containers }, { pruneContainers }, { pruneFilter }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/prune.js'),
      import('../../runtime/filters.js'),
    ])
    const test = pruneFilter(args.filter ?? [])
    if (!(await agreed(context, args.force, ['all stopped containers']))) return 1
    const removed = await pruneContainers(new Containers(context.root, context.runRoot), test)
    tellDeleted(context.stdout, 'Containers', removed.names)
    tellReclaimed(context.stdout, removed.bytes)
    return 0
  },
})
