/** `lamina cp`: files and directories out of an image or container, without mounting anything, and into a container. */
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'cp <from> <to>',
  describe: 'Copy files out of an image or container, or into a container: NAME:PATH',
  builder: {
    archive: { alias: 'a', type: 'boolean', describe: 'Keep owners, suid bits and extended attributes' },
    'follow-link': { alias: 'L', type: 'boolean', describe: 'Follow a symlink given as PATH' },
    quiet: { alias: 'q', type: 'boolean', describe: 'For Docker’s sake: there is no progress to hide' },
  },
  examples: [
    ['cp debian:12:/etc/os-release .', 'one file'],
    ['cp mine:1:/app ./app', 'a directory; as docker cp: into ./app if that exists, else under that name'],
    ['cp mine:1:/app - | tar t', 'a tar on standard output'],
    ['cp ./config web:/etc/app', 'into a container, running or not'],
    ['cp mine:1:/app web:/srv', 'from an image or a container into a container'],
    ['cp - web:/srv < files.tar', 'what is in a tar into a directory of a container'],
  ],
  epilogue:
    'FROM is NAME:PATH, a path of this machine, or - for a tar on standard input; TO is CONTAINER:PATH, a path of this machine, or - for a tar on standard output. NAME is an image, container, layer or archive. PATH/. copies what is in a directory. What is copied belongs to who copies it (in a container: root), with -a and from a tar to its owner there.',
  looksInto: args => [args.to, args.from],
  enters: true,
  async handler(args, { root, runRoot, stdin, stdout, stderr }) {
    const [{ Operands, splitPath }, sources, { printable, printableBytes }] = await Promise.all([
      import('../operand.js'),
      import('../copy-source.js'),
      import('../printable.js'),
    ])
    const from = splitPath(args.from)
    const to = splitPath(args.to)
    if (from === undefined && to === undefined) {
      throw new UsageError('one of the two is NAME:PATH, the path beginning with /')
    }
    const fromTar = args.from === '-'
    if (fromTar && stdin.isTTY === true) throw new UsageError('-: a tar is not read from a terminal')
    const options = {
      archive: args.archive === true || fromTar,
      warn: (message: string): void => void stderr.write(`lamina: cp ${printableBytes(message)}\n`),
    }
    const follow = args.followLink === true
    const operands = new Operands(root, runRoot)
    try {
      const target = to === undefined ? undefined : await operands.open(to.name)
      if (target !== undefined && target.kind !== 'container')
        throw new UsageError(`${printable(to?.name ?? '')}: only a container can be copied into`)
      const source = fromTar
        ? await sources.sourceOfTar(operands, stdin)
        : from === undefined
          ? await sources.sourceHere(operands, args.from, follow)
          : await sources.sourceInside(operands, args.from, from, follow)
      if (target !== undefined && to !== undefined) {
        const { copyIn } = await import('../copy-in.js')
        await copyIn(root, target.container, source, to.path, options)
        return
      }
      const { copyOut, copyToTar } = await import('../copy-out.js')
      if (args.to === '-') await copyToTar(source, stdout)
      else copyOut(source, args.to, options)
    } finally {
      operands.close()
    }
  },
})
