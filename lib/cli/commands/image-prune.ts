/** `lamina image prune`: removes images that nothing needs; the build cache stays. */
import { defineCommand } from '../command.js'
import { agreed, filterOption, forceOption, imageLines, keptBy, tellDeleted, tellReclaimed } from '../prune.js'

export const command = defineCommand({
  command: 'image prune',
  describe: 'Remove images without a name that nothing uses',
  builder: {
    all: { alias: 'a', type: 'boolean', describe: 'Every image that no container uses' },
    ...filterOption,
    ...forceOption,
  },
  async handler(args, context) {
    const what = args.all === true ? 'all images that no container uses' : 'all images without a name'
    const keep = await keptBy(args.filter ?? [])
    if (!(await agreed(context, args.force, [what]))) return 1
    const [{ Store }, { pruneImages }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/gc.js'),
    ])
    const removed = await pruneImages(Store.open(context.root), { all: args.all === true, keep })
    tellDeleted(context.stdout, 'Images', imageLines(removed))
    tellReclaimed(context.stdout, removed.freed.bytes)
    return 0
  },
})
