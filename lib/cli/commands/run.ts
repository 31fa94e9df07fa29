/** `lamina run`: makes a container and runs it. */
import { withCidfile } from '../cidfile.js'
import { defineCommand } from '../command.js'
import { configOf, noImage, runOptions } from '../run-options.js'

export const command = defineCommand({
  command: 'run [image] [command..]',
  describe: 'Run an isolated process on an image, or on a writable layer over a directory',
  builder: {
    ...runOptions,
    detach: { alias: 'd', type: 'boolean', describe: 'Run in the background and print the id' },
    'detach-keys': {
      type: 'string',
      default: 'ctrl-p,ctrl-q',
      describe: 'Keys that leave it running in the background',
    },
    'sig-proxy': { type: 'boolean', default: true, describe: 'Forward signals to the process' },
  },
  examples: [
    ['run -it debian:12', 'a shell'],
    ['run --rm --rootfs / -- apt-get install -y sl', 'try something on a copy of this machine'],
  ],
  optionsFirst: true,
  runsProcess: true,
  async handler(args, { root, runRoot, stdin, stdout, stderr, debug }) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate({ root, runRoot })
    if (elsewhere !== undefined) return elsewhere
    const words = [...(args.image === undefined ? [] : [args.image]), ...args.command]
    const [{ Containers }, { createContainer }] = await Promise.all([
      import('../../runtime/containers.js'),
      import('../../runtime/create.js'),
    ])
    const containers = new Containers(root, runRoot)
    const { resolveRoot } = await import('../container-root.js')
    const { of, image, command: rest } = await resolveRoot(args, words, root, stderr)
    const config = await configOf(args, of, rest, image ?? noImage)
    const container = await withCidfile(args.cidfile, () => createContainer(containers, config))
    const log = (line: string): void => {
      if (debug) stderr.write(`${line}\n`)
    }
    const apart = args.detach === true || config.tty || config.restart.name !== 'no'
    if (!apart) {
      const { runInForeground } = await import('../../runtime/foreground.js')
      const streams = { stdin: config.interactive ? stdin : undefined, stdout, stderr }
      let code: number
      try {
        code = await runInForeground(containers, container, streams, args.sigProxy, log)
      } finally {
        const { settle } = await import('../../runtime/settle.js')
        await settle(containers, container)
      }
      const { leave } = await import('../leave.js')
      return leave(code, stdout, stderr)
    }
    const { runApart } = await import('../run-apart.js')
    return runApart(containers, container, args, { stdin, stdout, stderr })
  },
})
