/** `lamina volume rm`. */
import { defineCommand } from '../command.js'
import { printable } from '../printable.js'

export const command = defineCommand({
  command: 'volume rm <name..>',
  describe: 'Remove volumes that no container uses',
  builder: { force: { alias: 'f', type: 'boolean', describe: 'One that is not there is fine' } },
  async handler(args, context) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate(context)
    if (elsewhere !== undefined) return elsewhere
    const { root, runRoot, stdout } = context
    const [{ Containers }, { removeVolume }, { RuntimeError }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/volumes.js'),
      import('../../runtime/error.js'),
    ])
    const all = await new Containers(root, runRoot).all()
    for (const name of args.name) {
      const user = all.find(c => c.config.mounts.some(m => m.kind === 'volume' && m.source === name))
      if (user !== undefined) throw new RuntimeError('IN_USE', `volume ${name}: container ${user.config.name} uses it`)
      try {
        removeVolume(root, name)
      } catch (error) {
        if (args.force !== true || (error as { code?: string }).code !== 'NO_SUCH_VOLUME') throw error
      }
      stdout.write(`${printable(name)}\n`)
    }
    return 0
  },
})
