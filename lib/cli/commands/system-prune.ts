/** `lamina system prune`: removes whatever nothing needs, of every kind. */
import { defineCommand, UsageError } from '../command.js'
import { agreed, filterOption, forceOption, imageLines, keptBy, tellDeleted, tellReclaimed } from '../prune.js'

export const command = defineCommand({
  command: 'system prune',
  describe: 'Remove stopped containers, networks that none has, images without a name, and the build cache',
  builder: {
    all: { alias: 'a', type: 'boolean', describe: 'Every image that no container uses, and cache mounts of builds' },
    volumes: { type: 'boolean', describe: 'Anonymous volumes that no container has too' },
    filter: { ...filterOption.filter, describe: `${filterOption.filter.describe}; the build cache then stays` },
    ...forceOption,
  },
  async handler(args, context) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate(context)
    if (elsewhere !== undefined) return elsewhere
    const { root, runRoot, stdout } = context
    const { pruneFilter } = await import('../../runtime/filters.js')
    const filters = args.filter ?? []
    // Volumes have no time of use: one could be of a container that was made long ago and removed just now.
    if (args.volumes === true && filters.some(f => f.startsWith('until=')))
      throw new UsageError('--filter until= is not for --volumes')
    const [test, keep] = [pruneFilter(filters), await keptBy(filters)]
    const all = args.all === true
    const what = [
      'all stopped containers',
      'all networks not used by at least one container',
      ...(args.volumes === true ? ['anonymous volumes not used by at least one container'] : []),
      all ? 'all images that no container uses' : 'all images without a name',
      ...(filters.length === 0 ? ['the build cache'] : []),
    ]
    if (!(await agreed(context, args.force, what))) return 1
    const [{ Containers }, prune, { Store }, { pruneImages }, { pruneBuildCache }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/prune.js'),
      import('../../image/store.js'),
      import('../../image/gc.js'),
      import('../../build/prune.js'),
    ])
    // Containers first: what only they have used goes with them.
    const containers = new Containers(root, runRoot)
    const stopped = await prune.pruneContainers(containers, test)
    tellDeleted(stdout, 'Containers', stopped.names)
    tellDeleted(stdout, 'Networks', (await prune.pruneNetworks(containers, test)).names)
    let bytes = stopped.bytes
    if (args.volumes === true) {
      const volumes = await prune.pruneVolumes(containers, test, false)
      tellDeleted(stdout, 'Volumes', volumes.names)
      bytes += volumes.bytes
    }
    const store = Store.open(root)
    const steps = filters.length === 0 ? await pruneBuildCache(store, all) : 0
    const images = await pruneImages(store, { all, keep })
    tellDeleted(stdout, 'Images', imageLines(images))
    if (steps > 0) stdout.write(`Forgotten: ${steps} steps of builds\n\n`)
    tellReclaimed(stdout, bytes + images.freed.bytes)
    return 0
  },
})
