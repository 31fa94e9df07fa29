/** `lamina explore`: an image, container, layer, archive or directory on a page in the browser, in a file, or in the terminal. */
import type { Exploration } from '../../diff/explorer/build-dataset.js'
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'explore <image>',
  describe: 'Explore the layers of an image or container in a browser, a saved page, or the terminal',
  builder: {
    html: { type: 'string', describe: 'Write one self-contained page to this file instead of serving it' },
    tui: { type: 'boolean', describe: 'Show it in the terminal' },
    compare: { type: 'string', describe: 'Also compare with this image (container, layer, directory)' },
    port: { type: 'number', default: 0, describe: 'Port on 127.0.0.1 (0: any free one)' },
    texts: {
      type: 'string',
      default: '4m',
      describe: 'With --html: most bytes of changed text files kept in the page',
    },
  },
  examples: [
    ['explore mine:1', 'prints the address of the page and serves it until interrupted'],
    ['explore mine:1 --html mine.html', 'one file that opens offline'],
    ['explore mine:1 --tui', 'keys as in dive'],
    ['explore web', 'a container: what it changed is the last layer'],
    ['explore ./image.tar --compare debian:12', 'an archive of docker save, not loaded'],
  ],
  epilogue:
    'IMAGE is an image, a container, a layer, an archive or a directory (image:, container:, layer:, archive:, dir: say which).',
  looksInto: args => [args.image, args.compare],
  async handler(args, { root, runRoot, stdin, stdout, stderr }) {
    const [{ Operands }, { openLayered }, dataset, { MergedTree }, { printableBytes }, { bytesOf }] = await Promise.all(
      [
        import('../operand.js'),
        import('../layered.js'),
        import('../../diff/explorer/build-dataset.js'),
        import('../../diff/merged.js'),
        import('../printable.js'),
        import('../../bytes.js'),
      ],
    )
    const { collectTexts, comparisonDataset, imageDataset } = dataset
    if (args.tui === true && (args.html !== undefined || stdin.isTTY !== true || stdout.isTTY !== true)) {
      throw new UsageError('--tui needs a terminal, and excludes --html')
    }
    const operands = new Operands(root, runRoot)
    try {
      const { operand, layers, about } = await openLayered(operands, args.image)
      const exploration = imageDataset(
        {
          title: bytesOf(args.image),
          layers,
          about: about.map(({ instruction, id }) => ({ instruction: bytesOf(instruction), id })),
        },
        printableBytes,
      )
      const compare = async (name: string): Promise<Exploration> => {
        const other = await operands.open(name)
        const titles = [bytesOf(args.image), bytesOf(name)] as const
        return comparisonDataset(titles, new MergedTree(operand.layers), new MergedTree(other.layers), printableBytes)
      }
      const initial = args.compare === undefined ? [] : [await compare(args.compare)]

      if (args.tui === true) {
        const [{ TerminalExplorer }, { runTerminal }] = await Promise.all([
          import('../explore/terminal.js'),
          import('../explore/run.js'),
        ])
        const waste = exploration.analysis.waste
          .slice(0, 50)
          .map(w => ({ path: printableBytes(w.path), bytes: w.bytes }))
        const colour = process.env['NO_COLOR'] === undefined || process.env['NO_COLOR'] === ''
        const explorer = new TerminalExplorer((initial[0] ?? exploration).dataset, waste, { colour })
        await runTerminal(explorer, stdin, stdout as unknown as NodeJS.WriteStream)
        return
      }
      if (args.html !== undefined) {
        const [{ explorerHtml }, { writeFileSync }, { parseSize }] = await Promise.all([
          import('../../diff/explorer/page.js'),
          import('node:fs'),
          import('../human.js'),
        ])
        const budget = parseSize(args.texts)
        if (budget === undefined) throw new UsageError(`--texts ${args.texts}: no size`)
        const withTexts = [exploration, ...initial].map(e => ({
          ...e.dataset,
          info: { ...e.dataset.info, texts: collectTexts(e, budget) },
        }))
        writeFileSync(args.html, explorerHtml(withTexts, { served: false }))
        return
      }
      const [{ serveExplorer }, { listImages }] = await Promise.all([
        import('../../diff/explorer/serve.js'),
        import('../../image/images.js'),
      ])
      const store = await operands.store()
      const images = (): string[] => listImages(store).flatMap(i => i.names)
      const server = await serveExplorer({ exploration, images, compare }, { port: args.port, initial })
      stdout.write(`${server.url}\n`)
      if (stderr.isTTY === true) stderr.write('Serving until interrupted (Ctrl+C).\n')
      await new Promise<void>(done => {
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => done())
      })
      await server.close()
    } finally {
      operands.close()
    }
  },
})
