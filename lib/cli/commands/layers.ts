/** `lamina layers`: what each layer of an image holds, does and wastes. */
import { defineCommand, jsonOption } from '../command.js'

export const command = defineCommand({
  command: 'layers <image>',
  describe: 'Show what each layer of an image or container adds, changes, removes and wastes',
  builder: {
    ...jsonOption,
    wasted: { type: 'boolean', describe: 'List the paths whose bytes nobody can see, and where they are' },
    duplicates: { type: 'boolean', describe: 'List files with equal content under several paths' },
    'no-trunc': { type: 'boolean', describe: 'Do not shorten instructions and IDs' },
  },
  examples: [
    ['layers debian:12', 'one line per layer, base first'],
    ['layers --wasted mine:1', 'what could go'],
    ['layers web', "a container: its image's layers, and its own changes as commit would store them"],
    ['layers ./image.tar', 'an archive of docker save or an OCI layout, not loaded'],
    ['layers --json mine:1', 'all of it, with every file of every layer'],
  ],
  epilogue:
    'IMAGE is an image, a container, a layer, an archive or a directory (image:, container:, layer:, archive:, dir: say which). Bytes are file data as layers store it, hard links once. Wasted: stored by a layer and hidden in the finished image, counted once each. Efficiency: the visible share.',
  looksInto: args => [args.image],
  async handler(args, { root, runRoot, stdout }) {
    const [
      { Operands },
      { openLayered },
      { analyse, duplicates, storeAccount },
      { printJson, printTable },
      { size },
      { textOf },
    ] = await Promise.all([
      import('../operand.js'),
      import('../layered.js'),
      import('../../diff/analysis.js'),
      import('../print.js'),
      import('../human.js'),
      import('../../bytes.js'),
    ])
    const operands = new Operands(root, runRoot)
    try {
      const layered = await openLayered(operands, args.image)
      const { layers: base, about } = layered
      if (args.json === true) {
        const { layersJson } = await import('../layers-json.js')
        printJson(stdout, layersJson(args.image, layered))
        return
      }
      const analysis = analyse(base)
      const percent = (n: number): string => `${(Math.floor(n * 1000) / 10).toFixed(1)}%`
      if (args.wasted === true) {
        printTable(stdout, analysis.waste, [
          { heading: 'WASTED', cell: w => size(w.bytes), right: true },
          { heading: 'LAYER', cell: w => String(w.layer), right: true },
          { heading: 'SINCE', cell: w => String(w.by), right: true },
          { heading: 'HOW', cell: w => w.how },
          { heading: 'PATH', cell: w => textOf(w.path) },
        ])
      } else if (args.duplicates === true) {
        const rows = duplicates(analysis, base)
        printTable(stdout, rows, [
          { heading: 'SIZE', cell: d => size(d.bytes), right: true },
          { heading: 'COPIES', cell: d => String(d.copies), right: true },
          { heading: 'EXTRA', cell: d => size(d.bytes * (d.copies - 1)), right: true },
          { heading: 'PATHS', cell: d => d.paths.map(textOf).join(' ') },
        ])
      } else {
        const width = args.noTrunc === true ? Infinity : Math.max(40, (stdout.columns ?? 120) - 96)
        const short = (text: string, n: number): string => (text.length > n ? `${text.slice(0, n - 1)}…` : text)
        const rows = analysis.layers.map((account, i) => ({ account, i, ...about[i] }))
        printTable(stdout, rows, [
          { heading: 'LAYER', cell: r => String(r.i), right: true },
          { heading: 'ID', cell: r => short((r.id ?? '').replace(/^sha256:/, ''), args.noTrunc === true ? 64 : 13) },
          { heading: 'SIZE', cell: r => size(r.account.bytes), right: true },
          { heading: 'ADDED', cell: r => String(r.account.added), right: true },
          { heading: 'CHANGED', cell: r => String(r.account.changed), right: true },
          { heading: 'REMOVED', cell: r => String(r.account.removed), right: true },
          { heading: 'HIDES', cell: r => size(r.account.hiddenBytes), right: true },
          {
            heading: 'EFFICIENCY',
            cell: r => percent(r.account.bytes === 0 ? 1 : r.account.visibleBytes / r.account.bytes),
            right: true,
          },
          { heading: 'INSTRUCTION', cell: r => short((r.instruction ?? '').replace(/\s+/g, ' '), width) },
        ])
      }
      const { totalBytes, wastedBytes, efficiency } = analysis
      // Every digest is asked for: not worth its time in the plain table.
      const objects = args.wasted === true || args.duplicates === true ? storeAccount(analysis, base) : undefined
      const stored =
        objects === undefined ? '' : `; in the store ${size(objects.bytes)}, ${size(objects.wastedBytes)} wasted`
      stdout.write(
        `\n${size(totalBytes)} in layers, ${size(wastedBytes)} wasted, efficiency ${percent(efficiency)}${stored}\n`,
      )
    } finally {
      operands.close()
    }
  },
})
