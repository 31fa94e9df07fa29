/** `lamina unmount`: ends mounts, also those whose server was killed. */
import { defineCommand, UsageError } from '../command.js'
import { realPlace } from './mount.js'

export const command = defineCommand({
  command: 'unmount [mountpoint..]',
  describe: 'Unmount, and wait until the server has closed everything',
  builder: {
    lazy: { alias: 'l', type: 'boolean', describe: 'Although it is in use: what is open is served until it is closed' },
    all: { alias: 'a', type: 'boolean', describe: 'Every mount that `lamina mounts` lists' },
  },
  examples: [
    ['unmount /mnt', 'The upper is free for another mount when it returns'],
    ['unmount --all --lazy', 'Everything, now'],
  ],
  epilogue: 'A mount point may also be named by its id. A mount whose server is dead is removed although it is in use.',
  async handler(args, { runRoot, stderr }) {
    const { unmountPath } = await import('../../mount/unmount.js')
    if (args.all === true && args.mountpoint.length > 0) throw new UsageError('--all takes no mount point')
    if (args.all !== true && args.mountpoint.length === 0) throw new UsageError('missing argument <mountpoint>')
    const { listMounts, records } = await import('../../mount/registry.js')
    const ids = new Set(records(runRoot).map(record => record.id))
    const places =
      args.all === true
        ? (await listMounts(runRoot)).map(mount => mount.mountpoint).reverse()
        : args.mountpoint.map(place => (ids.has(place) ? place : realPlace(place)))
    const { failureLine } = await import('../failure.js')
    let failed = 0
    for (const [i, place] of places.entries())
      try {
        await unmountPath(runRoot, place, { lazy: args.lazy === true })
      } catch (error) {
        // The first failure of several must not keep the others mounted.
        if (i === places.length - 1 && failed === 0) throw error
        stderr.write(`${failureLine(error, 'unmount')}\n`)
        failed++
      }
    return failed > 0 ? 1 : 0
  },
})
