/** `lamina top`: the processes of a container, as the host's ps sees them. */
import { spawnSync } from 'node:child_process'
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'top <container> [options..]',
  describe: 'Show the processes of a container',
  builder: {},
  optionsFirst: true,
  looksInto: args => [args.container],
  enters: true,
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ processesOf }, { RuntimeError }] = await Promise.all([
      import('../../runtime/processes.js'),
      import('../../runtime/error.js'),
    ])
    const { config, state } = await containers.find(args.container)
    if (state.status !== 'running') throw new RuntimeError('WRONG_STATE', `top ${config.name}: it is not running`)
    const pids = processesOf(state)
    const words = args.options.length > 0 ? args.options : ['-o', 'uid,pid,ppid,pcpu,stime,tty,time,args']
    const ps = spawnSync('ps', [...words, '-p', pids.join(',')], { encoding: 'utf8' })
    if (ps.error !== undefined) throw new RuntimeError('UNSUPPORTED', 'top: this machine has no ps (package procps)')
    if (ps.status !== 0 && ps.stdout === '')
      throw new RuntimeError('INVALID', `top: ps: ${ps.stderr.trim().split('\n')[0] ?? ''}`)
    stdout.write(ps.stdout)
  },
})
