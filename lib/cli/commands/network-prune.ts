/** `lamina network prune`: removes networks that no container has. */
import { defineCommand } from '../command.js'
import { agreed, filterOption, forceOption, tellDeleted } from '../prune.js'

export const command = defineCommand({
  command: 'network prune',
  describe: 'Remove networks that no container has, running or not; bridge stays',
  builder: { ...filterOption, ...forceOption },
  async handler(args, context) {
    const [{ Containers }, { pruneNetworks }, { pruneFilter }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/prune.js'),
      import('../../runtime/filters.js'),
    ])
    const test = pruneFilter(args.filter ?? [])
    if (!(await agreed(context, args.force, ['all networks not used by at least one container']))) return 1
    const removed = await pruneNetworks(new Containers(context.root, context.runRoot), test)
    tellDeleted(context.stdout, 'Networks', removed.names)
    return 0
  },
})
