/** `lamina cp`: files and directories out of an image or container, without mounting anything, and into a container. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'cp <from> <to>',
  describe: 'Copy files out of an image or container, or into a container: NAME:PATH',
  builder: {
    archive: { alias: 'a', type: 'boolean', describe: 'Keep owners, suid bits and extended attributes' },
    'follow-link': { alias: 'L', type: 'boolean', describe: 'Follow a symlink given as PATH' },
  },
  examples: [
    ['cp debian:12:/etc/os-release .', 'one file'],
    ['cp mine:1:/app ./app', 'a directory; as docker cp: into ./app if that exists, else under that name'],
    ['cp mine:1:/app - | tar t', 'a tar on standard output'],
    ['cp ./config web:/etc/app', 'into a container, running or not'],
  ],
  epilogue:
    'The other side is a path of this machine, or - for a tar on standard output. PATH/. copies what is in a directory. What is copied into a container belongs to root there, with -a to its owner here.',
  async handler(args, { root, runRoot, stdout, stderr }) {
    const [
      { Operands, splitPath },
      { MergedTree },
      { findEntry },
      { isDirectory },
      { bytesOf },
      { printable, printableBytes },
    ] = await Promise.all([
      import('../operand.js'),
      import('../../diff/merged.js'),
      import('../inside.js'),
      import('../../diff/change.js'),
      import('../../bytes.js'),
      import('../printable.js'),
    ])
    const from = splitPath(args.from)
    const to = splitPath(args.to)
    if (from !== undefined && to !== undefined) throw new UsageError('between two containers: copy out first')
    if (from === undefined && to === undefined) {
      throw new UsageError('one of the two is NAME:PATH, the path beginning with /')
    }
    const options = {
      archive: args.archive === true,
      warn: (message: string): void => void stderr.write(`lamina: cp ${printableBytes(message)}\n`),
    }
    const operands = new Operands(root, runRoot)
    try {
      if (from === undefined) {
        const { name, path } = to as { name: string; path: string }
        const target = await operands.open(name)
        if (target.kind !== 'container') throw new UsageError(`${printable(name)}: only a container can be copied into`)
        const [{ copyIn }, { dirname, resolve }] = await Promise.all([import('../copy-in.js'), import('node:path')])
        const source = resolve(args.from)
        const inside = /(^|\/)\.$/.test(args.from)
        const { layers } = await operands.open(`dir:${inside ? source : dirname(source)}`)
        const tree = new MergedTree(layers)
        const within = inside ? '/' : source.slice(dirname(source).length).replace(/^\/*/, '/')
        const entry = findEntry(tree, within, args.from, args.followLink === true || args.from.endsWith('/'))
        await copyIn(root, target.container, { tree, entry, name: bytesOf(within.slice(1)), inside }, path, options)
        return
      }
      const { layers } = await operands.open(from.name)
      const tree = new MergedTree(layers)
      const inside = from.path.endsWith('/.')
      const entry = findEntry(tree, from.path, args.from, args.followLink === true || inside || from.path.endsWith('/'))
      const name = entry.path === '/' ? 'rootfs' : entry.path.slice(entry.path.lastIndexOf('/') + 1)
      if (args.to === '-') {
        if (stdout.isTTY === true) throw new UsageError('-: not to a terminal')
        const [{ subtreeTar }, { writeTar }, { writeAll }] = await Promise.all([
          import('../../diff/subtree-tar.js'),
          import('../../layer/tar-write.js'),
          import('../stream.js'),
        ])
        await writeAll(stdout, writeTar(subtreeTar(tree, entry, inside || entry.path === '/' ? '' : name)))
        return
      }
      const [{ extract, extractChildren }, { statSync }, path, { open, close }, { O }, { FsError }] = await Promise.all(
        [
          import('../../diff/extract.js'),
          import('node:fs'),
          import('node:path'),
          import('../../sys/file.js'),
          import('../../sys/constants.js'),
          import('../../errno.js'),
        ],
      )
      const openDirectory = (directory: string): number => {
        const fd = open(bytesOf(path.resolve(directory)), O.RDONLY | O.DIRECTORY)
        if (fd < 0) throw new FsError(fd, 'open', directory)
        return fd
      }
      const into = statSync(args.to, { throwIfNoEntry: false })?.isDirectory() === true
      if (!into && args.to.endsWith('/') && !isDirectory(entry.attributes)) {
        throw new UsageError(`${printable(args.to)}: no such directory`)
      }
      if (into && inside) {
        const fd = openDirectory(args.to)
        try {
          extractChildren(tree, entry, fd, options)
        } finally {
          close(fd)
        }
        return
      }
      const fd = openDirectory(into ? args.to : path.dirname(path.resolve(args.to)))
      try {
        extract(tree, entry, fd, into ? name : bytesOf(path.basename(path.resolve(args.to))), options)
      } finally {
        close(fd)
      }
    } finally {
      operands.close()
    }
  },
})
