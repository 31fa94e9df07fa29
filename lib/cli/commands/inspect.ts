/** `lamina inspect`: everything that is known of containers, as JSON. */
import { defineCommand } from '../command.js'
import { inspectFormat, printInspected } from '../format.js'

export const command = defineCommand({
  command: 'inspect <name..>',
  describe: 'Show all that is known of containers or images',
  builder: {
    ...inspectFormat,
    type: { type: 'string', choices: ['container', 'image'], describe: 'Only look for this kind' },
  },
  async handler(args, { root, runRoot, stdout }) {
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const { inspectContainer } = await import('../../runtime/inspect.js')
    const found: Record<string, unknown>[] = []
    for (const name of args.name) {
      try {
        if (args.type !== 'image') {
          found.push(inspectContainer(await containers.find(name), root))
          continue
        }
      } catch (error) {
        if ((error as { code?: string }).code !== 'NO_SUCH_CONTAINER' || args.type === 'container') throw error
      }
      const { imageView } = await import('../image-view.js')
      found.push(await imageView(root, name))
    }
    printInspected(stdout, found, args.format)
  },
})
