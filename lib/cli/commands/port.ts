/** `lamina port`: the published ports of a container. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'port <container> [port]',
  describe: 'Show where the ports of a container are published',
  builder: {},
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const { config, state } = await containers.find(args.container)
    const ports = state.network?.ports ?? []
    const show = (ip: string): string => (ip === '' ? '0.0.0.0' : ip.includes(':') ? `[${ip}]` : ip)
    if (args.port === undefined) {
      for (const p of ports) stdout.write(`${p.containerPort}/${p.protocol} -> ${show(p.hostIp)}:${p.hostPort}\n`)
      return
    }
    const [number, protocol = 'tcp'] = args.port.split('/')
    const found = ports.filter(p => String(p.containerPort) === number && p.protocol === protocol)
    if (found.length === 0) {
      const { RuntimeError } = await import('../../runtime/error.js')
      throw new RuntimeError('INVALID', `port ${config.name}: ${args.port} is not published`)
    }
    for (const p of found) stdout.write(`${show(p.hostIp)}:${p.hostPort}\n`)
  },
})
