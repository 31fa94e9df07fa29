/** `lamina logs`: what a container has written. */
import { join } from 'node:path'
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'logs <container>',
  describe: 'Show what a container has written',
  builder: {
    follow: { alias: 'f', type: 'boolean', describe: 'Go on until it ends' },
    since: { type: 'string', describe: 'From a time (2026-11-23T12:00:00) or an age (10m) on' },
    until: { type: 'string', describe: 'Until a time or an age' },
    tail: { alias: 'n', type: 'string', describe: 'Only the last N lines' },
    timestamps: { alias: 't', type: 'boolean', describe: 'Show when each line was written' },
  },
  async handler(args, { root, runRoot, stdout, stderr }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const container = await containers.find(args.container)
    const [{ readLog }, { moment }] = await Promise.all([
      import('../../runtime/log.js'),
      import('../../runtime/options.js'),
    ])
    if (args.tail !== undefined && args.tail !== 'all' && !/^\d+$/.test(args.tail))
      throw new UsageError(`--tail ${args.tail}: is no number`)
    const since = args.since === undefined ? undefined : moment('--since', args.since)
    const until = args.until === undefined ? undefined : moment('--until', args.until)
    await readLog(
      join(container.directory, 'log'),
      {
        ...(since === undefined ? {} : { since }),
        ...(until === undefined ? {} : { until }),
        ...(args.tail === undefined || args.tail === 'all' ? {} : { tail: Number(args.tail) }),
        follow: args.follow === true,
        ended: () => containers.load(container.id)?.state.status !== 'running',
      },
      record => {
        const out = record.stream === 'stderr' ? stderr : stdout
        out.write(args.timestamps === true ? `${record.time} ${record.log}` : record.log)
      },
    )
  },
})
