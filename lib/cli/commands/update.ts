/** `lamina update`: changes limits of containers, live. */
import { defineCommand, UsageError } from '../command.js'
import { resourcesOf } from '../limits.js'
import { runOptions } from '../run-options.js'

const keys = [
  'memory',
  'memory-swap',
  'memory-reservation',
  'cpus',
  'cpu-shares',
  'cpu-period',
  'cpu-quota',
  'cpuset-cpus',
  'cpuset-mems',
  'pids-limit',
  'blkio-weight',
  'restart',
] as const

export const command = defineCommand({
  command: 'update <container..>',
  describe: 'Change limits of containers, running ones at once',
  builder: Object.fromEntries(keys.map(k => [k, runOptions[k]])) as Pick<typeof runOptions, (typeof keys)[number]>,
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ Cgroup }, { restart }, { printable }] = await Promise.all([
      import('../../runtime/cgroup/cgroup.js'),
      import('../../runtime/options.js'),
      import('../printable.js'),
    ])
    const change = await resourcesOf(args)
    const policy = args.restart === undefined ? undefined : restart(args.restart)
    if (Object.keys(change).length === 0 && policy === undefined) throw new UsageError('nothing to change was given')
    for (const name of args.container) {
      const { id, state } = await containers.find(name)
      if (state.status === 'running') Cgroup.at(state.cgroup).limit(change)
      await containers.lock(() => {
        const config = containers.load(id)?.config
        if (config === undefined) return
        const old = config.resources
        config.resources = {
          ...old,
          ...change,
          memory: { ...old.memory, ...change.memory },
          cpu: { ...old.cpu, ...change.cpu },
        }
        if (policy !== undefined) config.restart = policy
        containers.writeConfig(config)
      })
      stdout.write(`${printable(name)}\n`)
    }
  },
})
