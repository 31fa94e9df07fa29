/** `lamina inspect`: everything that is known of containers, as JSON. */
import type { Container } from '../../runtime/containers.js'
import { defineCommand } from '../command.js'
import { inspectFormat, printInspected } from '../format.js'

export const command = defineCommand({
  command: 'inspect <name..>',
  describe: 'Show all that is known of containers or images',
  builder: {
    ...inspectFormat,
    size: {
      alias: 's',
      type: 'boolean',
      describe: 'How much a container has written (SizeRw), and with its image (SizeRootFs)',
    },
    type: { type: 'string', choices: ['container', 'image'], describe: 'Only look for this kind' },
  },
  async handler(args, { root, runRoot, stdout }) {
    if (args.size === true) {
      const { elevate } = await import('../elevate.js')
      const elsewhere = await elevate({ root, runRoot })
      if (elsewhere !== undefined) return elsewhere
    }
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const { inspectContainer } = await import('../../runtime/inspect.js')
    const found: Record<string, unknown>[] = []
    for (const name of args.name) {
      try {
        if (args.type !== 'image') {
          const container = await containers.find(name)
          found.push({
            ...inspectContainer(container, root),
            ...(args.size === true ? await sizes(root, container) : {}),
          })
          continue
        }
      } catch (error) {
        if ((error as { code?: string }).code !== 'NO_SUCH_CONTAINER' || args.type === 'container') throw error
      }
      const { imageView } = await import('../image-view.js')
      found.push(await imageView(root, name))
    }
    printInspected(stdout, found, args.format)
    return 0
  },
})

async function sizes(root: string, container: Container): Promise<{ SizeRw: number; SizeRootFs: number }> {
  const { containerSize } = await import('../../runtime/size.js')
  const { written, all } = await containerSize(root, container)
  return { SizeRw: written, SizeRootFs: all }
}
