/** `lamina volume prune`: removes volumes that no container has. */
import { defineCommand } from '../command.js'
import { agreed, filterOption, forceOption, tellDeleted, tellReclaimed } from '../prune.js'

export const command = defineCommand({
  command: 'volume prune',
  describe: 'Remove anonymous volumes that no container has',
  builder: {
    all: { alias: 'a', type: 'boolean', describe: 'Those with a name of their own too' },
    filter: { ...filterOption.filter, describe: 'Only those that match: label=KEY[=VALUE], label!=…' },
    ...forceOption,
  },
  async handler(args, context) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate(context)
    if (elsewhere !== undefined) return elsewhere
    const [{ Containers }, { pruneVolumes }, { pruneFilter }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/prune.js'),
      import('../../runtime/filters.js'),
    ])
    const test = pruneFilter(args.filter ?? [], ['label', 'label!'])
    const which = args.all === true ? 'all volumes' : 'anonymous volumes'
    if (!(await agreed(context, args.force, [`${which} not used by at least one container`]))) return 1
    const removed = await pruneVolumes(new Containers(context.root, context.runRoot), test, args.all === true)
    tellDeleted(context.stdout, 'Volumes', removed.names)
    tellReclaimed(context.stdout, removed.bytes)
    return 0
  },
})
