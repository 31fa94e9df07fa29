/** `lamina rename`: gives a container another name. */
import { defineCommand } from '../command.js'

export const command = defineCommand({
  command: 'rename <container> <name>',
  describe: 'Give a container another name',
  builder: {},
  async handler(args, { root, runRoot }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const [{ checkName }, { RuntimeError }] = await Promise.all([
      import('../../runtime/names.js'),
      import('../../runtime/error.js'),
    ])
    const name = checkName('container', args.name)
    const { id } = await containers.find(args.container)
    await containers.lock(() => {
      const other = containers.names().get(name)
      if (other !== undefined)
        throw new RuntimeError('NAME_TAKEN', `rename: name ${name} is in use by container ${other.slice(0, 12)}`)
      const now = containers.load(id)
      if (now === undefined) throw new RuntimeError('NO_SUCH_CONTAINER', `rename: container ${args.container} is gone`)
      containers.writeConfig({ ...now.config, name })
    })
  },
})
