/** `lamina ls`: a directory of an image, without mounting anything. */
import type { Entry } from '../../diff/merged.js'
import { defineCommand, jsonOption } from '../command.js'

export const command = defineCommand({
  command: 'ls <directory..>',
  describe: 'List directories of an image or container: IMAGE:PATH',
  builder: {
    ...jsonOption,
    all: { alias: 'a', type: 'boolean', describe: 'Names beginning with a dot too' },
    long: { alias: 'l', type: 'boolean', describe: 'Mode, links, owner, size and time' },
    numeric: { alias: 'n', type: 'boolean', describe: 'As -l, with numeric owners' },
    recursive: { alias: 'R', type: 'boolean', describe: 'Directories below, too' },
    'directory-itself': { alias: 'd', type: 'boolean', describe: 'The directory itself, not what is in it' },
  },
  examples: [
    ['ls -l debian:12:/etc', 'owners by the names the image gives them'],
    ['ls mine:1', 'the root directory'],
  ],
  looksInto: args => args.directory,
  async handler(args, { root, runRoot, stdout }) {
    const [{ Operands, splitPath }, { MergedTree }, { findEntry, namesIn }, change, { printableBytes }, describe] =
      await Promise.all([
        import('../operand.js'),
        import('../../diff/merged.js'),
        import('../inside.js'),
        import('../../diff/change.js'),
        import('../printable.js'),
        import('../describe-change.js'),
      ])
    const { isDirectory, isSymlink } = change
    const { modeText } = await import('../../diff/explorer/view.js')
    const operands = new Operands(root, runRoot)
    const long = args.long === true || args.numeric === true
    const json: unknown[] = []
    try {
      for (const text of args.directory) {
        const target = splitPath(text) ?? { name: text, path: '/' }
        const { layers } = await operands.open(target.name)
        const tree = new MergedTree(layers)
        const users = long && args.numeric !== true ? namesIn(tree, '/etc/passwd') : new Map<number, string>()
        const groups = long && args.numeric !== true ? namesIn(tree, '/etc/group') : new Map<number, string>()
        const row = (name: string, entry: Entry): string[] => {
          const a = entry.attributes
          const link = isSymlink(a) ? tree.readlink(entry) : undefined
          const time = describe.timeText(a.mtime, 0).slice(0, 16).replace('T', ' ')
          return [
            modeText(a.mode),
            String(a.nlink),
            users.get(a.uid) ?? String(a.uid),
            groups.get(a.gid) ?? String(a.gid),
            a.rdev === 0 ? String(a.size) : deviceText(a.rdev),
            time,
            printableBytes(name) + (link === undefined || !long ? '' : ` -> ${printableBytes(link)}`),
          ]
        }
        const list = (dir: Entry, heading: boolean): void => {
          const rows: string[][] = []
          const below: string[] = []
          tree.children(dir, (name, entry) => {
            if (args.all !== true && name.startsWith('.')) return
            if (args.json === true) {
              const target = isSymlink(entry.attributes) ? describe.nameJson('target', tree.readlink(entry)) : {}
              const path = describe.nameJson('path', entry.path)
              json.push({
                ...describe.nameJson('name', name),
                ...path,
                ...describe.attributesJson(entry.attributes),
                ...target,
              })
            } else rows.push(row(name, entry))
            if (args.recursive === true && isDirectory(entry.attributes)) below.push(entry.path)
          })
          if (heading && args.json !== true) stdout.write(`${printableBytes(dir.path)}:\n`)
          stdout.write(columns(rows, long))
          for (const path of below) {
            const entry = tree.resolve(path)
            if (entry === undefined) continue
            if (args.json !== true) stdout.write('\n')
            list(entry, true)
            tree.release(entry)
          }
        }
        const entry = findEntry(tree, target.path, text)
        if (args.directoryItself === true || !isDirectory(entry.attributes)) {
          const name = entry.path
          if (args.json === true)
            json.push({ ...describe.nameJson('path', name), ...describe.attributesJson(entry.attributes) })
          else stdout.write(columns([row(name, entry)], long))
        } else list(entry, args.directory.length > 1 || args.recursive === true)
        tree.release(entry)
      }
      if (args.json === true) {
        const { printJson } = await import('../print.js')
        printJson(stdout, json)
      }
    } finally {
      operands.close()
    }
  },
})

function deviceText(rdev: number): string {
  return `${(rdev >>> 8) & 0xfff}, ${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`
}

/** Lines of ls: names alone, or all columns lined up. */
function columns(rows: readonly string[][], long: boolean): string {
  if (!long) return rows.map(r => `${r.at(-1) ?? ''}\n`).join('')
  const widths = [0, 1, 2, 3, 4].map(i => rows.reduce((w, r) => Math.max(w, r[i]?.length ?? 0), 0))
  return rows
    .map(r => {
      const cells = r
        .slice(0, 5)
        .map((cell, i) => (i === 1 || i === 4 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      return `${[...cells, ...r.slice(5)].join(' ')}\n`
    })
    .join('')
}
