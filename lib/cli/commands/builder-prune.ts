/** `lamina builder prune`: forgets the build cache; images stay. */
import { defineCommand } from '../command.js'
import { agreed, forceOption, tellReclaimed } from '../prune.js'

export const command = defineCommand({
  command: 'builder prune',
  describe: 'Remove the build cache',
  builder: { all: { alias: 'a', type: 'boolean', describe: 'Cache mounts of builds too' }, ...forceOption },
  async handler(args, context) {
    const what = args.all === true ? 'the build cache, and what cache mounts hold' : 'the build cache'
    if (!(await agreed(context, args.force, [what]))) return 1
    const [{ Store }, { pruneImages }, { pruneBuildCache }] = await Promise.all([
      import('../../image/store.js'),
      import('../../image/gc.js'),
      import('../../build/prune.js'),
    ])
    const store = Store.open(context.root)
    const steps = await pruneBuildCache(store, args.all === true)
    if (steps > 0) context.stdout.write(`Forgotten: ${steps} steps of builds\n`)
    // What only the cache has kept goes now.
    const { freed } = await pruneImages(store, { keep: () => true })
    tellReclaimed(context.stdout, freed.bytes)
    return 0
  },
})
