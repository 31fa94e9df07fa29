/** `lamina cp`: files and directories out of an image or container, without mounting anything. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'cp <from> <to>',
  describe: 'Copy files out of an image or container: IMAGE:PATH DEST',
  builder: {
    archive: { alias: 'a', type: 'boolean', describe: 'Keep owners, suid bits and extended attributes' },
    'follow-link': { alias: 'L', type: 'boolean', describe: 'Follow a symlink given as PATH' },
  },
  examples: [
    ['cp debian:12:/etc/os-release .', 'one file'],
    ['cp mine:1:/app ./app', 'a directory; as docker cp: into ./app if that exists, else under that name'],
    ['cp mine:1:/app - | tar t', 'a tar on standard output'],
  ],
  epilogue: 'DEST is a path of this machine, or - for a tar on standard output. PATH/. copies what is in a directory.',
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
    if (from === undefined) {
      throw new UsageError(`${args.from}: only copying out is offered: IMAGE:PATH, the path beginning with /`)
    }
    const operands = new Operands(root, runRoot)
    try {
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
      const options = {
        archive: args.archive === true,
        warn: (message: string): void => void stderr.write(`lamina: cp ${printableBytes(message)}\n`),
      }
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
