/** `lamina run`: makes a container and runs it. */
import type { ContainerConfig } from '../../runtime/config.js'
import { withCidfile } from '../cidfile.js'
import { defineCommand, type Context } from '../command.js'
import { configOf, noImage, runOptions } from '../run-options.js'

export const command = defineCommand({
  command: 'run [image] [command..]',
  describe: 'Run an isolated process on an image, or on a writable layer over a directory',
  builder: {
    ...runOptions,
    attach: { ...runOptions.attach, conflicts: 'detach' },
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
    const streams = await attachedStreams(args.attach, config, { stdin, stdout, stderr })
    const container = await withCidfile(args.cidfile, () => createContainer(containers, config))
    const log = (line: string): void => {
      if (debug) stderr.write(`${line}\n`)
    }
    // Whoever sees nothing of it is told what to ask for (docker's rule).
    if (args.attach !== undefined && streams.stdout !== stdout && streams.stderr !== stderr)
      stdout.write(`${container.id}\n`)
    const apart = args.detach === true || config.tty || config.restart.name !== 'no'
    if (!apart) {
      const { runInForeground } = await import('../../runtime/foreground.js')
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
    return runApart(containers, container, args, streams)
  },
})

/** The streams that the container's are joined with: all, or those that --attach names. */
async function attachedStreams(
  names: readonly string[] | undefined,
  { interactive }: ContainerConfig,
  { stdin, stdout, stderr }: Pick<Context, 'stdin' | 'stdout' | 'stderr'>,
) {
  if (names === undefined) return { stdin: interactive ? stdin : undefined, stdout, stderr }
  const { attached } = await import('../../runtime/options.js')
  const chosen = attached(names)
  const nowhere = { write: () => true }
  return {
    stdin: interactive && chosen.has('stdin') ? stdin : undefined,
    stdout: chosen.has('stdout') ? stdout : nowhere,
    stderr: chosen.has('stderr') ? stderr : nowhere,
  }
}
