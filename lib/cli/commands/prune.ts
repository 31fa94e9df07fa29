/** `lamina prune`: removes images that nothing needs, and what is left over. */
import { defineCommand } from '../command.js'
import { agreed, forceOption, tellReclaimed } from '../prune.js'

export const command = defineCommand({
  command: 'prune',
  describe: 'Remove images without a name, the build cache, and everything nothing refers to',
  builder: {
    all: { alias: 'a', type: 'boolean', describe: 'Every image that no container uses, and cache mounts of builds' },
    ...forceOption,
  },
  async handler(args, context) {
    const { root, stdout } = context
    const what = args.all === true ? 'all images that no container uses' : 'all images without a name'
    if (!(await agreed(context, args.force, [what, 'the build cache']))) return 1
    const [{ Store }, { pruneImages }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/gc.js'),
    ])
    const { pruneBuildCache } = await import('../../build/prune.js')
    const store = Store.open(root)
    const steps = await pruneBuildCache(store, args.all === true)
    if (steps > 0) stdout.write(`Forgotten: ${steps} steps of builds\n`)
    const removed = await pruneImages(store, { all: args.all === true })
    for (const name of removed.untagged) stdout.write(`Untagged: ${name}\n`)
    for (const id of removed.deleted) stdout.write(`Deleted: ${id}\n`)
    tellReclaimed(stdout, removed.freed.bytes)
    return 0
  },
})
