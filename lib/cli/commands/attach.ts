/** `lamina attach`: joins this terminal with a running container. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'attach <container>',
  describe: 'Attach to a running container',
  builder: {
    'no-stdin': { type: 'boolean', describe: 'Only its output' },
    'detach-keys': { type: 'string', default: 'ctrl-p,ctrl-q', describe: 'Keys that leave it running' },
    'sig-proxy': { type: 'boolean', default: true, describe: 'Forward signals to the process' },
  },
  runsProcess: true,
  async handler(args, { root, runRoot, stdin, stdout, stderr }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const container = await containers.find(args.container)
    const { RuntimeError } = await import('../../runtime/error.js')
    if (container.state.status !== 'running')
      throw new RuntimeError('WRONG_STATE', `attach ${container.config.name}: it is not running`)
    const { attach, dial, parseDetachKeys } = await import('../../runtime/attach.js')
    const socket = await dial(container, 1000)
    const result = await attach(socket, container, {
      stdin: container.config.interactive && args.noStdin !== true ? stdin : undefined,
      stdout,
      stderr,
      tty: container.config.tty,
      detachKeys: parseDetachKeys(args.detachKeys),
      signals: args.sigProxy,
    })
    return result === 'detached' ? 0 : result.exitCode
  },
})
