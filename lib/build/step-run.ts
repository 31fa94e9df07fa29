/**
 * Owns RUN: its arguments, environment, user and mounts; the cache key; the run itself through the `Executor`.
 * Invariants: neither a secret's content nor a proxy setting is part of the key, the history or a layer; whatever happens,
 * the scratch directories of the step are gone afterwards and locks on cache mounts are given back.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { chainOf } from '../digest.js'
import { accountOf, type Account } from './accounts.js'
import { keyOf } from './cache.js'
import { BuildError } from './error.js'
import type { ExecutionMount } from './executor.js'
import type { Run } from './instruction.js'
import { prepareMounts, type PreparedMount } from './mounts.js'
import { formatPlatform, runsHere } from './platform.js'
import { readMount } from './run-mount.js'
import { argv, DEFAULT_PATH, type Outcome, type StepContext } from './step.js'
import { cachedLayer } from './step-cache.js'
import { epochInput } from './step-workdir.js'
import type { StoredLayer } from './store.js'

export async function runStep(context: StepContext, instruction: Run): Promise<Outcome> {
  const { session, state, scope } = context
  const { options } = session
  if (!runsHere(state.platform))
    throw new BuildError(
      'PLATFORM',
      `cannot run a ${formatPlatform(state.platform)} program on this machine: no binfmt_misc handler is registered for it`,
    )
  allowed(instruction, 'security.insecure', instruction.security === 'insecure', options.allow)
  const network = instruction.network === 'default' ? options.network : instruction.network
  allowed(instruction, 'network.host', instruction.network === 'host' && options.network !== 'host', options.allow)

  const command = commandOf(context, instruction)
  const args = scope.visibleArgs().map(([name, value]) => `${name}=${value}`)
  const account = accountIn(context, state.config.User ?? '')
  const mounts = await prepareMounts(
    context,
    instruction.mounts.map(flag => readMount(flag, context.expand)),
  )
  const inputs = {
    kind: 'run',
    below: chainOf(state.layers) ?? 'scratch',
    command: command.args,
    script: command.script ?? '',
    env: state.config.Env ?? [],
    args,
    user: `${account.uid}:${account.gid}:${account.groups.join(',')}`,
    workdir: state.config.WorkingDir ?? '/',
    mounts: mounts.map(m => m.input),
    network,
    security: instruction.security,
    hosts: options.addHosts,
    shm: options.shmSize === undefined ? '' : String(options.shmSize),
    epoch: epochInput(context),
  }
  const outcome = await cachedLayer(context, keyOf(inputs), inputs, () =>
    session.runs.use(() => execute(context, instruction, command, args, account, mounts, network)),
  )
  const said = args.length > 0 ? `|${args.length} ${args.join(' ')} ` : ''
  return { ...outcome, createdBy: `RUN ${said}${command.shown}` }
}

function allowed(instruction: Run, name: string, asked: boolean, allow: ReadonlySet<string>): void {
  if (asked && !allow.has(name))
    throw new BuildError(
      'FLAG_VALUE',
      `${instruction.at.keyword} asks for ${name}, which is not allowed: build with --allow ${name}`,
    )
}

interface Command {
  readonly args: readonly string[]
  readonly shown: string
  /** A here-document with `#!`: the file to run. */
  readonly script?: string
}

const PIPES = '/dev/pipes'

function commandOf({ state }: StepContext, { command, heredocs }: Run): Command {
  const [first] = heredocs
  if (!first || command.form === 'exec') {
    const args = argv(state.config, command)
    return { args, shown: args.join(' ') }
  }
  if (/^\d*<<-?\S+$/.test(command.text.trim())) {
    // Nothing but the here-document: it is the script.
    if (first.body.startsWith('#!'))
      return { args: [`${PIPES}/${first.name}`], shown: `${PIPES}/${first.name} ${first.body}`, script: first.body }
    const args = argv(state.config, { form: 'shell', text: first.body })
    return { args, shown: args.join(' ') }
  }
  // The shell reads its here-documents itself.
  const text = [command.text, ...heredocs.map(h => h.body + h.name)].join('\n')
  const args = argv(state.config, { form: 'shell', text })
  return { args, shown: args.join(' ') }
}

function accountIn(context: StepContext, user: string): Account {
  const tree = context.session.tree(context.state.layers)
  try {
    return accountOf(tree, user)
  } finally {
    tree.close()
  }
}

async function execute(
  context: StepContext,
  instruction: Run,
  command: Command,
  args: readonly string[],
  account: Account,
  prepared: readonly PreparedMount[],
  network: 'default' | 'none' | 'host',
): Promise<StoredLayer | undefined> {
  const { session, state, scope, step } = context
  const { store, options } = session
  session.check()
  mkdirSync(store.scratch, { recursive: true })
  const scratch = mkdtempSync(join(store.scratch, 'run-'))
  const upper = join(scratch, 'upper')
  const releases: (() => void)[] = []
  try {
    mkdirSync(upper, { mode: 0o755 })
    mkdirSync(join(scratch, 'work'))
    const mounts: ExecutionMount[] = []
    const secrets: string[] = []
    if (command.script !== undefined)
      mounts.push({
        type: 'secret',
        data: Buffer.from(command.script),
        target: command.args[0]!,
        mode: 0o755,
        uid: 0,
        gid: 0,
      })
    for (const mount of prepared) {
      const ready = await mount.ready(scratch, options.signal)
      releases.push(ready.release)
      mounts.push(...ready.mounts)
      secrets.push(...ready.env)
    }
    const result = await session.executor.execute({
      id: `build-${process.pid}-${step}`,
      layers: state.layers,
      upper,
      work: join(scratch, 'work'),
      args: command.args,
      env: environment(state.config.Env ?? [], args, scope.proxies(), account.home, secrets),
      cwd: state.config.WorkingDir ?? '/',
      user: account,
      mounts,
      network,
      insecure: instruction.security === 'insecure',
      addHosts: options.addHosts,
      shmSize: options.shmSize,
      signal: options.signal,
      output: (stream, data) => session.teller.tell({ type: 'output', step, stream, data }),
    })
    session.check()
    if (result.exitCode !== 0) {
      const kept =
        options.debug && !isEmpty(upper) ? await store.addUpper(scratch, state.layers, options.epoch) : undefined
      throw new BuildError(
        'RUN',
        `run ${JSON.stringify(oneLine(command.shown))}: exit code ${result.exitCode}${result.detail ? `: ${result.detail}` : ''}`,
        { context: { exitCode: result.exitCode, ...(kept ? { after: kept.diffID } : {}) } },
      )
    }
    return isEmpty(upper) ? undefined : await store.addUpper(scratch, state.layers, options.epoch)
  } finally {
    for (const release of releases) release()
    rmSync(scratch, { recursive: true, force: true })
  }
}

function oneLine(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > 200 ? `${line.slice(0, 197)}...` : line
}

/** Nothing was written. (The time of the root directory alone is no change.) */
function isEmpty(upper: string): boolean {
  return readdirSync(upper).length === 0
}

function environment(
  env: readonly string[],
  args: readonly string[],
  proxies: readonly [string, string][],
  home: string,
  secrets: readonly string[],
): string[] {
  const all = new Map<string, string>()
  const set = (pair: string): void => {
    const equals = pair.indexOf('=')
    all.set(pair.slice(0, equals), pair.slice(equals + 1))
  }
  all.set('PATH', DEFAULT_PATH)
  all.set('HOME', home)
  for (const [name, value] of proxies) all.set(name, value)
  args.forEach(set)
  env.forEach(set)
  secrets.forEach(set)
  return [...all].map(([name, value]) => `${name}=${value}`)
}
