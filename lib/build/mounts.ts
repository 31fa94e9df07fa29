/**
 * Owns what stands behind `RUN --mount`: a cache directory with its sharing mode, files of the context or a stage, a
 * secret, an agent's socket. First what of it counts for the cache key, then, only when the command really runs, the
 * mount itself.
 * Format: cache mounts live in `<state>/mounts/<sha256 of id>[-n]/data`, each with a `lock` beside it (flock).
 * Invariant: a secret's content is asked for only when the command runs, and is never in `input`.
 */
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bytesOf } from '../bytes.js'
import { check } from '../errno.js'
import { LOCK, O } from '../sys/constants.js'
import { close, flock, open } from '../sys/file.js'
import { Draft } from './draft.js'
import { BuildError } from './error.js'
import type { ExecutionMount } from './executor.js'
import { writeTree } from './output.js'
import type { RunMount } from './run-mount.js'
import { digestSelection, select } from './selection.js'
import type { StepContext } from './step.js'
import { fromWorkdir } from './step-workdir.js'
import { nameOf, type Tree } from './tree.js'

export interface ReadyMount {
  readonly mounts: readonly ExecutionMount[]
  /** `NAME=value` for a secret given as a variable. */
  readonly env: readonly string[]
  release(): void
}

export interface PreparedMount {
  /** Its part of the cache key. */
  readonly input: string
  ready(scratch: string, signal: AbortSignal): Promise<ReadyMount>
}

const nothing = (): void => {}

export async function prepareMounts(context: StepContext, mounts: readonly RunMount[]): Promise<PreparedMount[]> {
  const prepared: PreparedMount[] = []
  for (const mount of mounts) prepared.push(await prepare(context, mount))
  return prepared
}

async function prepare(context: StepContext, mount: RunMount): Promise<PreparedMount> {
  const absolute = (path: string): string => fromWorkdir(context.state.config.WorkingDir, path)
  switch (mount.type) {
    case 'tmpfs': {
      const target = absolute(mount.target)
      return {
        input: `tmpfs=${target} ${mount.size ?? ''}`,
        ready: async () => ({ mounts: [{ type: 'tmpfs', target, size: mount.size }], env: [], release: nothing }),
      }
    }
    case 'bind':
      return mount.from === undefined
        ? bindContext(context, mount, absolute(mount.target))
        : bindFrom(context, mount, absolute(mount.target))
    case 'cache':
      return cacheMount(context, { ...mount, target: absolute(mount.target) })
    case 'secret':
      return secretMount(context, { ...mount, target: mount.target === undefined ? undefined : absolute(mount.target) })
    case 'ssh':
      return sshMount(context, { ...mount, target: absolute(mount.target) })
  }
}

type Of<T extends RunMount['type']> = Extract<RunMount, { type: T }>

/** Files of the context, as the ignore file leaves them: they become a layer of their own when they are needed. */
async function bindContext(context: StepContext, mount: Of<'bind'>, target: string): Promise<PreparedMount> {
  const { session } = context
  const { tree, ignore } = session.context
  const [source] = select(tree, mount.source, { ignore })
  if (!source) throw new BuildError('SOURCE', `mount ${mount.source}: no such file or directory`)
  const content = digestSelection(tree, [source], () => '')
  return {
    input: `bind=${target} ${source.kind} ${content} ${mount.writable}`,
    ready: async () => {
      const draft = new Draft(session.tree([]), session.store, session.options.epoch ?? 0)
      // The directory itself with its attributes, then what is in it.
      draft.place(tree, [source], '/mount', source.kind === 'file', {
        owner: { uid: 0, gid: 0 },
        chmod: undefined,
        time: undefined,
      })
      const layer = await session.store.addTree(draft.root)
      const inside = source.kind === 'file' ? `/mount/${nameOf(source.entries[0]!.to)}` : '/mount'
      return {
        mounts: [{ type: 'layers', layers: [layer.diffID], source: inside, target, writable: mount.writable }],
        env: [],
        release: nothing,
      }
    },
  }
}

async function bindFrom(context: StepContext, mount: Of<'bind'>, target: string): Promise<PreparedMount> {
  const { layers } = await context.from(mount.from!)
  const content = digestIn(context.session.tree(layers), mount.source)
  return {
    input: `bind=${target} ${content} ${mount.writable}`,
    ready: async () => ({
      mounts: [{ type: 'layers', layers, source: fromWorkdir('/', mount.source), target, writable: mount.writable }],
      env: [],
      release: nothing,
    }),
  }
}

/** Digest of one path with all below it, owners included. Closes the tree. */
function digestIn(tree: Tree, path: string): string {
  try {
    return digestSelection(tree, select(tree, path), st => `${st.uid}:${st.gid}`)
  } finally {
    tree.close()
  }
}

async function cacheMount(context: StepContext, mount: Of<'cache'>): Promise<PreparedMount> {
  const { session } = context
  const { id, sharing, target } = mount
  const origin = mount.from === undefined ? undefined : await context.from(mount.from)
  return {
    input: `cache=${target} ${id} ${sharing} ${mount.readonly} ${mount.mode.toString(8)} ${mount.uid}:${mount.gid}`,
    ready: async (_scratch, signal) => {
      const base = join(session.store.state, 'mounts', createHash('sha256').update(id).digest('hex').slice(0, 32))
      const { directory, release } = await claim(base, sharing, signal)
      const data = join(directory, 'data')
      if (!existsSync(data)) {
        mkdirSync(data, { recursive: true })
        if (origin) {
          const tree = session.tree(origin.layers)
          try {
            writeTree(tree, mount.source, data)
          } finally {
            tree.close()
          }
        }
        if (process.getuid?.() === 0) chownSync(data, mount.uid, mount.gid)
        chmodSync(data, mount.mode)
      }
      return { mounts: [{ type: 'bind', source: data, target, writable: !mount.readonly }], env: [], release }
    },
  }
}

/** `shared`: anybody; `locked`: one after another; `private`: a directory that nobody else has now. */
async function claim(
  base: string,
  sharing: 'shared' | 'private' | 'locked',
  signal: AbortSignal,
): Promise<{ directory: string; release: () => void }> {
  for (let n = 0; ; n++) {
    const directory = sharing === 'private' && n > 0 ? `${base}-${n}` : base
    mkdirSync(directory, { recursive: true })
    const fd = check(open(bytesOf(join(directory, 'lock')), O.RDWR | O.CREAT, 0o600), 'open', join(directory, 'lock'))
    const wanted = sharing === 'shared' ? LOCK.SH : LOCK.EX
    if (flock(fd, wanted | LOCK.NB) === 0) return { directory, release: () => void close(fd) }
    close(fd)
    if (signal.aborted) throw new BuildError('CANCELLED', 'the build was interrupted')
    // Another build has it: shared ones wait for a locked one to end, and the other way round.
    if (sharing !== 'private') await sleep(50)
  }
}

async function secretMount(context: StepContext, mount: Of<'secret'>): Promise<PreparedMount> {
  const { id, target, env, mode, uid, gid } = mount
  const give = context.session.options.secrets.get(id)
  if (!give && mount.required)
    throw new BuildError('SECRET', `secret "${id}" is required: give it with --secret id=${id},src=FILE`)
  return {
    input: `secret=${id} ${target ?? ''} ${env ?? ''} ${mode.toString(8)} ${uid}:${gid}`,
    ready: async () => {
      const data = give?.()
      if (!data) return { mounts: [], env: [], release: nothing }
      return {
        mounts: target === undefined ? [] : [{ type: 'secret', data, target, mode, uid, gid }],
        env: env === undefined ? [] : [`${env}=${Buffer.from(data).toString('utf8')}`],
        release: nothing,
      }
    },
  }
}

async function sshMount(context: StepContext, mount: Of<'ssh'>): Promise<PreparedMount> {
  const { id, target, mode, uid, gid } = mount
  const source = context.session.options.ssh.get(id)
  if (source === undefined && mount.required)
    throw new BuildError('SECRET', `ssh agent "${id}" is required: give it with --ssh ${id}`)
  return {
    input: `ssh=${id} ${target}`,
    ready: async () =>
      source === undefined
        ? { mounts: [], env: [], release: nothing }
        : {
            mounts: [{ type: 'socket', source, target, mode, uid, gid }],
            env: [`SSH_AUTH_SOCK=${target}`],
            release: nothing,
          },
  }
}
