/** `lamina which-layer`: which layers of an image or container put a path there, changed it, took it away. */
import type { Entry } from '../../diff/merged.js'
import { defineCommand, jsonOption } from '../command.js'

export const command = defineCommand({
  command: 'which-layer <image> <path>',
  describe: 'Show which layers of an image or container added, changed or removed a path',
  builder: { ...jsonOption },
  examples: [['which-layer mine:1 /etc/passwd', 'the last line is the layer that it comes from']],
  looksInto: args => [args.image],
  async handler(args, { root, runRoot, stdout }) {
    const [
      { Operands },
      { openLayered },
      { MergedTree },
      { aspectsBetween },
      { attributesJson },
      { bytesOf },
      { E, FsError },
    ] = await Promise.all([
      import('../operand.js'),
      import('../layered.js'),
      import('../../diff/merged.js'),
      import('../../diff/compare.js'),
      import('../describe-change.js'),
      import('../../bytes.js'),
      import('../../errno.js'),
    ])
    const operands = new Operands(root, runRoot)
    try {
      const { image, layers: base, about } = await openLayered(operands, args.image)
      const path = bytesOf(args.path.startsWith('/') ? args.path : `/${args.path}`)
      const found: { layer: number; action: string; aspects: readonly string[]; entry: Entry }[] = []
      let below = new MergedTree([])
      let old: Entry | undefined
      for (let i = 0; i < base.length; i++) {
        const tree = new MergedTree(base.slice(0, i + 1).reverse())
        const entry = tree.resolve(path)
        if (entry !== undefined && old === undefined) found.push({ layer: i, action: 'added', aspects: [], entry })
        else if (entry === undefined && old !== undefined)
          found.push({ layer: i, action: 'removed', aspects: [], entry: old })
        else if (entry !== undefined && old !== undefined && entry.parts[0]?.layer !== old.parts[0]?.layer) {
          const aspects = aspectsBetween(below, old, tree, entry)
          // A directory that a layer only repeats is not its doing.
          if (aspects.length > 0 || entry.attributes.size > 0) {
            found.push({ layer: i, action: aspects.length === 0 ? 'stored again' : 'changed', aspects, entry })
          }
        }
        below = tree
        old = entry
      }
      if (found.length === 0) throw new FsError(E.ENOENT, 'open', `${args.image}:${args.path}`)
      if (args.json === true) {
        const { printJson } = await import('../print.js')
        printJson(
          stdout,
          found.map(({ layer, action, aspects, entry }) => ({
            layer,
            [image === undefined ? 'id' : 'diffID']: about[layer]?.id,
            instruction: about[layer]?.instruction,
            action,
            aspects,
            ...attributesJson(entry.attributes),
          })),
        )
        return
      }
      const [{ printTable }, { size }] = await Promise.all([import('../print.js'), import('../human.js')])
      printTable(stdout, found, [
        { heading: 'LAYER', cell: f => String(f.layer), right: true },
        { heading: 'ID', cell: f => (about[f.layer]?.id ?? '').replace(/^sha256:/, '').slice(0, 12) },
        { heading: 'ACTION', cell: f => (f.aspects.length > 0 ? `${f.action} (${f.aspects.join(', ')})` : f.action) },
        { heading: 'SIZE', cell: f => (f.action === 'removed' ? '' : size(f.entry.attributes.size)), right: true },
        { heading: 'INSTRUCTION', cell: f => (about[f.layer]?.instruction ?? '').replace(/\s+/g, ' ').slice(0, 100) },
      ])
    } finally {
      operands.close()
    }
  },
})
