/** `lamina build`: Dockerfile → image. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BuildError } from '../../build/error.js'
import type { BuildEvent } from '../../build/event.js'
import type { BuildOptions } from '../../build/session.js'
import type { Driver } from '../../mount/spec.js'
import { readAgents, readEpoch, readLabels, readSecrets } from '../build-options.js'
import { defineCommand, UsageError, type Context } from '../command.js'
import { driverOf, driverOption } from '../driver.js'
import { parseSize } from '../human.js'

const list = { type: 'string', array: true, requiresArg: true } as const

export const command = defineCommand({
  command: 'build [context]',
  describe: 'Build an image from a Dockerfile',
  builder: {
    file: { alias: 'f', type: 'string', requiresArg: true, describe: 'Dockerfile (CONTEXT/Dockerfile; - is stdin)' },
    tag: { alias: 't', ...list, describe: 'Name of the result' },
    target: { type: 'string', requiresArg: true, describe: 'Stage to build' },
    'build-arg': { ...list, describe: 'NAME=value for an ARG; NAME takes it from the environment' },
    'no-cache': { type: 'boolean', describe: 'Run every step' },
    pull: { type: 'boolean', describe: 'Ask the registry for newer base images' },
    secret: { ...list, describe: 'id=NAME,src=FILE or id=NAME,env=VARIABLE for RUN --mount=type=secret' },
    ssh: { ...list, describe: 'default or id=SOCKET for RUN --mount=type=ssh' },
    platform: { type: 'string', requiresArg: true, describe: 'os/architecture of the result' },
    label: { ...list, describe: 'name=value for the image' },
    output: {
      alias: 'o',
      type: 'string',
      requiresArg: true,
      describe: 'type=local,dest=DIR or type=tar|oci|docker,dest=FILE instead of a named image (- is stdout)',
    },
    iidfile: { type: 'string', requiresArg: true, describe: 'Write the image’s ID to a file' },
    network: { type: 'string', choices: ['default', 'none', 'host'], default: 'default', describe: 'Network of RUN' },
    'add-host': { ...list, describe: 'name:address for /etc/hosts of RUN' },
    'shm-size': { type: 'string', requiresArg: true, describe: 'Size of /dev/shm of RUN' },
    allow: { ...list, describe: 'What RUN may ask for: network.host, security.insecure' },
    driver: driverOption,
    progress: {
      type: 'string',
      choices: ['auto', 'plain', 'tty', 'json'],
      default: 'auto',
      describe: 'How to show it',
    },
    explain: { type: 'boolean', describe: 'Say for each step that was not in the cache which input differed' },
    quiet: { alias: 'q', type: 'boolean', describe: 'Print only the image’s ID' },
  },
  examples: [
    ['build -t web:1 .', 'Dockerfile and files of this directory'],
    ['build -t web:1 --explain .', 'and why what is not in the cache is not'],
    ['build - < Dockerfile', 'no files at all; a tar on stdin is a context'],
  ],
  epilogue:
    'When a RUN fails, the state before it is kept: the message names an image to look into (with --debug also the state after it).',
  async handler(args, context) {
    const { root, stdin, stdout, stderr, debug } = context
    if (args.context === undefined)
      throw new UsageError('a context is needed: a directory, a tar, a URL, or - for stdin')
    const { elevate } = await import('../elevate.js')
    const elsewhere = await elevate(context)
    if (elsewhere !== undefined) return elsewhere
    const [{ Store }, { ImageStore }, { openContext, textOfFailed }, { build }, scope, platform, output] =
      await Promise.all([
        import('../../image/store.js'),
        import('../../build/image-store.js'),
        import('../../build/context.js'),
        import('../../build/build.js'),
        import('../../build/scope.js'),
        import('../../build/platform.js'),
        import('../../build/output.js'),
      ])
    const result = args.output === undefined ? undefined : output.parseOutput(args.output)
    if (result && result.type !== 'image' && result.dest === '-' && stdout.isTTY === true)
      throw new UsageError('standard output is a terminal: give --output a dest or redirect it')
    const buildArgs = scope.readBuildArgs(args.buildArg ?? [], process.env)
    const stop = new AbortController()
    const options: BuildOptions = {
      buildArgs,
      platform: args.platform === undefined ? platform.HOST : platform.parsePlatform(args.platform),
      noCache: args.noCache === true,
      pull: args.pull === true,
      secrets: readSecrets(args.secret ?? [], process.env),
      ssh: readAgents(args.ssh ?? [], process.env),
      labels: readLabels(args.label ?? []),
      network: args.network as BuildOptions['network'],
      addHosts: args.addHost ?? [],
      shmSize: sizeOf(args.shmSize),
      allow: new Set(args.allow ?? []),
      epoch: readEpoch(buildArgs.get('SOURCE_DATE_EPOCH') ?? process.env['SOURCE_DATE_EPOCH']),
      explain: args.explain === true,
      debug,
      signal: stop.signal,
    }
    const store = Store.open(root)
    const { finder } = await import('../base-image.js')
    const images = await ImageStore.open(store, finder(store, context))
    const { buildNetwork } = await import('../build-network.js')
    const network = buildNetwork(context)
    const executor = await executorOf(store, images.scratch, network, driverOf(args.driver), context)
    const interrupt = (): void => stop.abort()
    process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
    let text: string | undefined
    try {
      const opened = await openContext({
        context: args.context,
        file: args.file,
        stdin,
        store: images,
        signal: stop.signal,
      })
      text = opened.file.text
      const shown = await progressOf(args.quiet === true ? 'quiet' : args.progress, context)
      try {
        const names = result && result.type !== 'image' ? [] : (args.tag ?? [])
        const built = await build({
          file: opened.file,
          target: args.target,
          context: opened,
          options,
          names,
          store: images,
          executor,
          listener: shown.event,
        })
        shown.end()
        if (result && result.type !== 'image') {
          const { writeResult } = await import('../build-result.js')
          await writeResult(store, images, built, result, args.tag ?? [], context)
        } else stdout.write(`${built.config}\n`)
        if (args.iidfile !== undefined) writeFileSync(args.iidfile, built.config)
      } catch (error) {
        shown.end()
        stderr.write(shown.failure())
        throw error
      } finally {
        opened.close()
      }
    } catch (error) {
      throw await explained(error, text ?? textOfFailed(error as BuildError), stderr)
    } finally {
      process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
      await network.close()
      images.close()
      const { closeConnections } = await import('../../image/http.js')
      closeConnections()
    }
    return 0
  },
})

async function progressOf(
  kind: string,
  { stderr }: Context,
): Promise<{ event(event: BuildEvent): void; end(): void; failure(): string }> {
  const { failureOutput, jsonProgress, plainProgress, Tails, ttyProgress } = await import('../../build/progress.js')
  const tails = new Tails()
  const tty = kind === 'tty' || (kind === 'auto' && stderr.isTTY === true && process.env['TERM'] !== 'dumb')
  const progress =
    kind === 'quiet'
      ? undefined
      : kind === 'json'
        ? jsonProgress(stderr)
        : tty
          ? ttyProgress(stderr)
          : plainProgress(stderr)
  return {
    event: event => {
      tails.event(event)
      progress?.event(event)
    },
    end: () => progress?.end(),
    failure: () => (kind === 'json' ? '' : failureOutput(tails)),
  }
}

async function executorOf(
  store: import('../../image/store.js').Store,
  scratch: string,
  network: import('../build-executor.js').NetworkOfBuild,
  driver: Driver,
  context: Context,
) {
  const { RuntimeExecutor } = await import('../build-executor.js')
  const tmp = join(scratch, 'executor')
  mkdirSync(tmp, { recursive: true })
  const log = (line: string): void => {
    if (context.debug) context.stderr.write(`${line}\n`)
  }
  return new RuntimeExecutor(store, tmp, network, driver, log)
}

/** Prints the place in the Dockerfile and what was kept; returns the error with the place in its message. */
async function explained(error: unknown, text: string | undefined, stderr: Context['stderr']): Promise<unknown> {
  const [{ BuildError, excerpt }, { plainText }] = await Promise.all([
    import('../../build/error.js'),
    import('../../build/progress.js'),
  ])
  const plainLines = (lines: string): string => lines.split('\n').map(plainText).join('\n')
  if (!(error instanceof BuildError)) return error
  const { location, file, context } = error
  if (location && text !== undefined && (file === undefined || !file.includes('(')))
    stderr.write(`${plainLines(excerpt(text, location))}\n`)
  const short = (id: string | number): string => String(id).replace('sha256:', '').slice(0, 12)
  if (context['before'] !== undefined) stderr.write(`the state before it: lamina run -it ${short(context['before'])}\n`)
  if (context['after'] !== undefined) stderr.write(`the state after it:  lamina run -it ${short(context['after'])}\n`)
  if (location) error.message = `${file ?? 'Dockerfile'}:${location.caret?.line ?? location.line}: ${error.message}`
  return error
}

function sizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const size = parseSize(text)
  if (size === undefined) throw new UsageError(`--shm-size ${text}: write it as 64m or 1g`)
  return size
}
