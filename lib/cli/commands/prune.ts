/** `lamina prune`: removes images that nothing needs, and what is left over. */
import { defineCommand } from '../command.js'
import { size } from '../human.js'

export const command = defineCommand({
  command: 'prune',
  describe: 'Remove images without a name, the build cache, and everything nothing refers to',
  builder: {
    all: { alias: 'a', type: 'boolean', describe: 'Every image that no container uses, and cache mounts of builds' },
    force: { alias: 'f', type: 'boolean', describe: 'Do not ask' },
  },
  async handler(args, { root, stdin, stdout, stderr }) {
    if (args.force !== true && stdin.isTTY) {
      const { createInterface } = await import('node:readline/promises')
      const ask = createInterface({ input: stdin, output: process.stderr })
      const what = args.all === true ? 'every image that no container uses' : 'every image without a name'
      const answer = await ask.question(`This removes ${what}. Go on? [y/N] `)
      ask.close()
      if (!/^y(es)?$/i.test(answer.trim())) {
        stderr.write('nothing was removed\n')
        return 1
      }
    }
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
    stdout.write(`Total reclaimed space: ${size(removed.freed.bytes)}\n`)
    return 0
  },
})
