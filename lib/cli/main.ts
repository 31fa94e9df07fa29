/**
 * Owns the way from argv to an exit code: global options, find the verb, load its file, parse strictly, run the handler,
 * and one boundary that turns whatever is thrown into one line and a code.
 * Invariant: exactly one command module is loaded, and none for the overview, --version or an unknown verb.
 */
import { runRoot, storeRoot } from '../roots.js'
import { UsageError, type Command, type Context } from './command.js'
import { membersOf, verbOf, verbs } from './commands.js'
import { ExitCode, exitCodeFor } from './exit-codes.js'
import { codeOf, failureLine } from './failure.js'

/** Where the command reads and writes; the process's own by default. */
export type Streams = Pick<Context, 'stdin' | 'stdout' | 'stderr' | 'stay'>

/** Runs `lamina` with `argv` (without node and script). Never throws; returns the exit code. */
export async function main(argv: readonly string[], streams: Streams = process): Promise<number> {
  const state: State = { verb: 'lamina', debug: false, command: undefined }
  if (streams === process) endWithReader(state)
  try {
    return await dispatch(argv, streams, state)
  } catch (error) {
    if (codeOf(error) === 'EPIPE') return ExitCode.Ok
    const hint = error instanceof UsageError ? ` (see 'lamina ${helpFor(state)}--help')` : ''
    streams.stderr.write(`${failureLine(error, state.verb)}${hint}\n`)
    if (state.debug && error instanceof Error && error.stack !== undefined) streams.stderr.write(`${error.stack}\n`)
    const own = (error as { exitCode?: unknown } | null)?.exitCode
    return typeof own === 'number' ? own : exitCodeFor(codeOf(error), state.command?.runsProcess === true)
  }
}

/**
 * Whoever read our output has gone (`lamina diff web | head`): there is nothing left to do, and no error to tell. A process
 * that was started goes on; its exit code still counts.
 */
function endWithReader(state: State): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      if (state.command?.runsProcess !== true) process.exit(ExitCode.Ok)
    })
}

interface State {
  verb: string
  debug: boolean
  command: Command | undefined
}

async function dispatch(argv: readonly string[], streams: Streams, state: State): Promise<number> {
  if (argv[0] === '__complete') {
    const [{ candidates }, { namesFor }] = await Promise.all([import('./complete.js'), import('./names.js')])
    const lines = await candidates(argv.slice(1), (verb, name) => namesFor(verb, name, storeRoot(), runRoot()))
    streams.stdout.write(lines.map(line => `${line}\n`).join(''))
    return ExitCode.Ok
  }
  const { root, rest, wants } = leading(argv, state)
  if (wants === 'version') {
    const { version } = await import('./version.js')
    streams.stdout.write(`lamina ${version()}\n`)
    return ExitCode.Ok
  }
  const [first, ...others] = rest[0] === 'help' ? [...rest.slice(1), '--help'] : rest
  if (wants === 'help' || first === undefined || first === '--help') {
    const { overview } = await import('./help.js')
    const asked = wants === 'help' || first === '--help'
    ;(asked ? streams.stdout : streams.stderr).write(overview())
    return asked ? ExitCode.Ok : ExitCode.Usage
  }
  const { name, args } = await findVerb(first, others, streams)
  if (name === undefined) return args.includes('--help') ? ExitCode.Ok : ExitCode.Usage
  state.verb = name
  const { command } = await (verbs.get(name) as NonNullable<ReturnType<typeof verbs.get>>).load()
  state.command = command
  const { parse } = await import('./parse.js')
  const { globalOptions, page } = await import('./help.js')
  const parsed = parse(command, args, globalOptions)
  if (parsed['help'] === true) {
    streams.stdout.write(await page(command, streams.stdout.columns ?? 100))
    return ExitCode.Ok
  }
  if (parsed['debug'] === true) state.debug = true
  const chosen = (parsed['root'] as string | undefined) ?? root
  if (chosen !== undefined) process.env['LAMINA_ROOT'] = storeRoot({ LAMINA_ROOT: chosen })
  const { stdout, stderr, stay } = streams
  const context: Context = {
    root: storeRoot(),
    runRoot: runRoot(),
    debug: state.debug,
    // Node makes its stream when it is asked for, in 7 ms, and few commands read.
    get stdin() {
      return streams.stdin
    },
    stdout,
    stderr,
    stay,
  }
  if (command.looksInto !== undefined && process.geteuid?.() !== 0) {
    const { elevateToLookInto } = await import('./elevate.js')
    const elsewhere = await elevateToLookInto(context, command.looksInto(parsed), command.enters === true)
    if (elsewhere !== undefined) return elsewhere
  }
  return (await command.handler(parsed, context)) ?? ExitCode.Ok
}

/** Reads the global options before the verb. */
function leading(argv: readonly string[], state: State) {
  let root: string | undefined
  let wants: 'help' | 'version' | undefined
  let i = 0
  for (; i < argv.length; i++) {
    const word = argv[i] as string
    if (word === '--debug' || word === '-D') state.debug = true
    else if (word === '--help' || word === '-h') wants = 'help'
    else if (word === '--version' || word === '-v') wants = 'version'
    else if (word.startsWith('--root=')) root = word.slice('--root='.length)
    else if (word === '--root') {
      root = argv[++i]
      if (root === undefined) throw new UsageError('option --root needs a value')
    } else if (word.startsWith('-')) throw new UsageError(`unknown option '${word}'`)
    else break
  }
  if (root === '') throw new UsageError('option --root needs a value')
  return { root, wants, rest: argv.slice(i) }
}

/** One or two words name a verb. A group alone shows its verbs and gives no name. */
async function findVerb(first: string, others: readonly string[], streams: Streams) {
  const found = verbOf([first, ...others])
  if (found !== undefined) return found
  const [second = ''] = others
  const members = [...membersOf(first).keys()]
  const { didYouMean } = await import('./suggest.js')
  if (members.length === 0) {
    const known = [...verbs.keys()].map(name => name.split(' ')[0] as string)
    throw new UsageError(`unknown command '${first}'${didYouMean(first, known)}`)
  }
  if (second !== '' && !second.startsWith('-')) {
    const known = members.map(word => `${first} ${word}`)
    throw new UsageError(`unknown command '${first} ${second}'${didYouMean(`${first} ${second}`, known)}`)
  }
  const { overview } = await import('./help.js')
  const out = others.includes('--help') ? streams.stdout : streams.stderr
  out.write(overview(first))
  return { name: undefined, args: others }
}

function helpFor(state: State): string {
  return state.verb === 'lamina' ? '' : `${state.verb} `
}
