/** `lamina export`: the filesystem of a container (or an image) as a tar. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'export <name>',
  describe: "Write a container's or image's filesystem as a tar",
  builder: { output: { alias: 'o', type: 'string', requiresArg: true, describe: 'File; default: standard output' } },
  looksInto: args => [args.name],
  async handler(args, { root, runRoot, stdout }) {
    if (args.output === undefined && stdout.isTTY === true)
      throw new UsageError('standard output is a terminal: use -o FILE or redirect it')
    const [{ Containers }, { Store }, { resolveImage }, out, { writeOut }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../image/store.js'),
      import('../../image/images.js'),
      import('../../image/import-rootfs.js'),
      import('../write-out.js'),
    ])
    const store = Store.open(root)
    let container
    try {
      container = await new Containers(root, runRoot).find(args.name)
    } catch (error) {
      if ((error as { code?: string }).code !== 'NO_SUCH_CONTAINER') throw error
      return writeOut(out.exportImage(store, resolveImage(store, args.name)), args.output, stdout)
    }
    const { containerBase, containerUpper } = await import('../container-base.js')
    const { lowers } = await containerBase(store, container.config.root)
    const upper = await containerUpper(container, lowers)
    try {
      await writeOut(out.exportLayers([upper, ...lowers]), args.output, stdout)
    } finally {
      for (const layer of [upper, ...lowers]) layer.close()
    }
  },
})
