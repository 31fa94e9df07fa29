/** `lamina exec`: runs another process in a running container. */
import { readFileSync } from 'node:fs'
import { defineCommand, UsageError } from '../command.js'

export const command = defineCommand({
  command: 'exec <container> <command..>',
  describe: 'Run a process in a running container',
  builder: {
    detach: { alias: 'd', type: 'boolean', describe: 'Do not wait for it' },
    interactive: { alias: 'i', type: 'boolean', describe: 'Keep stdin open' },
    tty: { alias: 't', type: 'boolean', describe: 'Give it a terminal' },
    env: { alias: 'e', type: 'string', array: true, describe: 'Set a variable' },
    'env-file': { type: 'string', array: true, describe: 'Read variables from a file' },
    user: { alias: 'u', type: 'string', describe: 'User: name or uid, with :group if wanted' },
    workdir: { alias: 'w', type: 'string', describe: 'Working directory inside' },
    privileged: { type: 'boolean', describe: 'Give it all capabilities' },
    'detach-keys': { type: 'string', describe: 'Accepted; an exec ends with its command' },
  },
  optionsFirst: true,
  runsProcess: true,
  async handler(args, { root, runRoot, stdin, stdout, stderr }) {
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate({ root, runRoot }, args.container)
    if (elsewhere !== undefined) return elsewhere
    const { Containers } = await import('../../runtime/containers.js')
    const containers = new Containers(root, runRoot)
    const container = await containers.find(args.container)
    if (args.command.length === 0) throw new UsageError('needs a command')
    const [{ execIn }, o] = await Promise.all([import('../../runtime/exec.js'), import('../../runtime/options.js')])
    const terminal = stdout as NodeJS.WriteStream
    const executed = await execIn(container, {
      args: args.command,
      env: [
        ...(args.envFile ?? []).flatMap(f => o.environmentFile(readFileSync(f, 'utf8'), process.env)),
        ...(args.env ?? []).flatMap(e => o.environmentEntry(e, process.env)),
      ],
      user: args.user,
      workdir: args.workdir,
      tty: args.tty === true && args.detach !== true,
      interactive: args.interactive === true,
      privileged: args.privileged === true,
      size: terminal.isTTY ? { rows: terminal.rows, columns: terminal.columns } : undefined,
    })
    if (args.detach === true) {
      executed.stdio.close()
      process.exit(0)
    }
    const { joinTerminal } = await import('../../runtime/join.js')
    const code = await joinTerminal(executed, {
      stdin: args.interactive === true ? stdin : undefined,
      stdout,
      stderr,
      tty: args.tty === true,
    })
    const { leave } = await import('../leave.js')
    return leave(code, stdout, stderr)
  },
})
