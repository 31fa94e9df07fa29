/** `lamina cat`: a file of an image on standard output, without mounting anything. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'cat <file..>',
  describe: 'Print files of an image or container: IMAGE:PATH',
  builder: {},
  examples: [['cat debian:12:/etc/os-release', 'symlinks are followed inside the image']],
  looksInto: args => args.file,
  async handler(args, { root, runRoot, stdout }) {
    const [{ Operands, splitPath }, { MergedTree }, { fileChunks, findEntry }, { writeAll }] = await Promise.all([
      import('../operand.js'),
      import('../../diff/merged.js'),
      import('../inside.js'),
      import('../stream.js'),
    ])
    const operands = new Operands(root, runRoot)
    try {
      for (const text of args.file) {
        const target = splitPath(text)
        if (target === undefined) throw new UsageError(`${text}: IMAGE:PATH is wanted, the path beginning with /`)
        const { layers } = await operands.open(target.name)
        const tree = new MergedTree(layers)
        const entry = findEntry(tree, target.path, text)
        await writeAll(stdout, fileChunks(tree, entry, text))
        tree.release(entry)
      }
    } finally {
      operands.close()
    }
  },
})
