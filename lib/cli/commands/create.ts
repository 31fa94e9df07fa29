/** `lamina create`: makes a container without starting it. */
import { withCidfile } from '../cidfile.js'
import { defineCommand } from '../command.js'
import { configOf, noImage, runOptions } from '../run-options.js'

export const command = defineCommand({
  command: 'create [image] [command..]',
  describe: 'Make a container without starting it',
  builder: { ...runOptions },
  optionsFirst: true,
  runsProcess: true,
  async handler(args, { root, runRoot, stdout, stderr }) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate({ root, runRoot })
    if (elsewhere !== undefined) return elsewhere
    const words = [...(args.image === undefined ? [] : [args.image]), ...args.command]
    const [{ Containers }, { createContainer }, { resolveRoot }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/create.js'),
      import('../container-root.js'),
    ])
    const { of, image, command: rest } = await resolveRoot(args, words, root, stderr)
    const config = await configOf(args, of, rest, image ?? noImage)
    const container = await withCidfile(args.cidfile, () => createContainer(new Containers(root, runRoot), config))
    stdout.write(`${container.id}\n`)
    return 0
  },
})
