/** `lamina diff`: what changed in a container, or between any two of image, layer, container, directory. */
import { defineCommand, jsonOption, UsageError } from '../command.js'
import { printable, printableBytes } from '../printable.js'

export const command = defineCommand({
  command: 'diff <a> [b]',
  describe: 'Show what changed in a container, or between two images, layers, containers or directories',
  builder: {
    ...jsonOption,
    stat: { type: 'boolean', describe: 'Sums by directory' },
    depth: { type: 'number', default: 2, describe: 'With --stat: how deep directories are told apart' },
    content: { type: 'boolean', describe: 'Unified diff of text files' },
    'name-only': { type: 'boolean', describe: 'Only the paths' },
    tar: { type: 'boolean', describe: 'The difference as a layer tar on standard output' },
    renames: {
      alias: 'M',
      type: 'boolean',
      describe: 'Say which directories moved from where (--no-renames: list all that is below them)',
    },
    'ignore-times': { type: 'boolean', describe: 'Leave out what differs in modification time alone' },
    path: { type: 'string', array: true, describe: 'Only this path and what is below it (repeatable)' },
  },
  examples: [
    ['diff web', 'what container web changed in its image, in the form of docker diff'],
    ['diff debian:11 debian:12 --stat', 'bytes that came and went, by directory'],
    ['diff web --tar > layer.tar', 'the changes as a layer, to apply elsewhere'],
    ['diff ./before ./after --content', 'two directories as a patch'],
  ],
  epilogue:
    'A and B are each an image, a container, a layer (diffID) or a directory (a path); image:, container:, layer: and dir: say which. A alone: a container against its image, an image or layer against the layers below its last.',
  looksInto: args => [args.a, args.b],
  async handler(args, { root, runRoot, stdout }) {
    const forms = ['json', 'stat', 'content', 'nameOnly', 'tar'] as const
    if (forms.filter(f => args[f] === true).length > 1) {
      throw new UsageError('--json, --stat, --content, --name-only and --tar exclude each other')
    }
    if (args.tar === true && stdout.isTTY === true) throw new UsageError('--tar: not to a terminal')
    const [{ Operands }, { MergedTree }, { compareTrees }, { bytesOf }] = await Promise.all([
      import('../operand.js'),
      import('../../diff/merged.js'),
      import('../../diff/compare.js'),
      import('../../bytes.js'),
    ])
    const operands = new Operands(root, runRoot)
    try {
      const a = await operands.open(args.a)
      const b = args.b === undefined ? undefined : await operands.open(args.b)
      if (b === undefined && a.kind === 'directory')
        throw new UsageError('a directory alone: with what shall it be compared?')
      const before = new MergedTree(b === undefined ? a.base : a.layers)
      const after = new MergedTree(b === undefined ? a.layers : b.layers)
      const within = args.path?.map(p => bytesOf(p.startsWith('/') ? p : `/${p}`)) ?? []
      if (args.tar === true) {
        const [{ layerTar }, { writeTar }, { writeAll }] = await Promise.all([
          import('../../diff/layer-tar.js'),
          import('../../layer/tar-write.js'),
          import('../stream.js'),
        ])
        await writeAll(stdout, writeTar(layerTar(before, after, { within }).entries))
        return
      }
      // A directory that moved is one change, not one for each name below it: a list that costs what changed.
      const renames = args.renames ?? (args.stat !== true && args.content !== true)
      const changes = compareTrees(before, after, { renames, within, ignoreTimes: args.ignoreTimes === true })
      const show = stdout.isTTY === true ? printableBytes : (bytes: string): string => printableBytes(bytes)
      if (args.json === true) {
        const [{ changeJson }, { printJson }] = await Promise.all([
          import('../describe-change.js'),
          import('../print.js'),
        ])
        printJson(stdout, changes.map(changeJson))
      } else if (args.stat === true) {
        const [{ statByDirectory }, { printTable }, { size }] = await Promise.all([
          import('../../diff/stat.js'),
          import('../print.js'),
          import('../human.js'),
        ])
        const rows = statByDirectory(changes, before, Math.max(0, args.depth))
        const { textOf } = await import('../../bytes.js')
        printTable(stdout, rows, [
          { heading: 'DIRECTORY', cell: r => textOf(r.directory) },
          { heading: 'ADDED', cell: r => String(r.added), right: true },
          { heading: 'CHANGED', cell: r => String(r.changed), right: true },
          { heading: 'REMOVED', cell: r => String(r.removed), right: true },
          { heading: '+BYTES', cell: r => size(r.addedBytes), right: true },
          { heading: '-BYTES', cell: r => size(r.removedBytes), right: true },
        ])
      } else if (args.content === true) {
        const { unifiedDiff } = await import('../../diff/unified.js')
        await unifiedDiff(changes, before, after, bytes => {
          const data = Buffer.from(bytes, 'latin1')
          if (stdout.isTTY === true) stdout.write(data.toString('utf8').split('\n').map(safeLine).join('\n'))
          else stdout.write(data)
        })
      } else if (args.nameOnly === true) {
        for (const { path } of changes) if (path !== '/') stdout.write(`${show(path)}\n`)
      } else {
        const { dockerLines } = await import('../../diff/lines.js')
        const lines = dockerLines(changes)
        let text = ''
        if (args.renames === true)
          for (const c of changes) if (c.kind === 'renamed') text += `R ${show(c.from)} -> ${show(c.path)}\n`
        for (const { kind, path } of lines) text += `${kind} ${show(path)}\n`
        stdout.write(text)
      }
    } finally {
      operands.close()
    }
  },
})

/** A line of a file for a terminal: tabs stay, everything that could act on the terminal is shown as text. */
function safeLine(line: string): string {
  return line
    .split('\t')
    .map(part => part.split('\\').map(printable).join('\\'))
    .join('\t')
}
