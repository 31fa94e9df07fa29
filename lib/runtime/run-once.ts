/**
 * Owns running one process on layers with an upper directory of the caller's, and nothing kept: what a build's RUN
 * needs. No container is recorded. Invariant: when `runOnce` has resolved or thrown, nothing of the process runs and
 * nothing is mounted; mountpoints that were made for it and are empty are gone from `upper` again.
 */
import { lstatSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, unlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DiffID } from '../digest.js'
import { O, S } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { exitOf, pidfdSignal } from '../sys/process.js'
import { fstat, Stat } from '../sys/stat.js'
import { Cgroup } from './cgroup/cgroup.js'
import { freshConfig, type ContainerConfig } from './config.js'
import { Containers } from './containers.js'
import type { RuntimeError } from './error.js'
import { writeEtcFiles } from './etc-files.js'
import { lowersOf } from './image-root.js'
import { launch } from './launch.js'
import { newId } from './names.js'
import { connectNetwork } from './network/connect.js'
import { prepareMounts, secretTmpfs, type PreparedMount } from './prepare.js'
import { openInRoot } from './read-in-root.js'
import { buildSpec } from './spec.js'
import { openPipes } from './streams.js'

export type OnceMount =
  | { readonly type: 'bind'; readonly source: string; readonly target: string; readonly writable: boolean }
  | {
      readonly type: 'layers'
      /** Base first. */
      readonly layers: readonly DiffID[]
      readonly source: string
      readonly target: string
      readonly writable: boolean
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly size: number | undefined; readonly mode?: number }
  | {
      readonly type: 'secret'
      readonly data: Uint8Array
      readonly target: string
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }
  | {
      readonly type: 'socket'
      readonly source: string
      readonly target: string
      readonly mode: number
      readonly uid: number
      readonly gid: number
    }

export interface Once {
  readonly id: string
  /** Base first. */
  readonly layers: readonly DiffID[]
  readonly upper: string
  readonly work: string
  readonly args: readonly string[]
  readonly env: readonly string[]
  readonly cwd: string
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] }
  readonly mounts: readonly OnceMount[]
  readonly network: 'default' | 'none' | 'host'
  readonly insecure: boolean
  readonly addHosts: readonly string[]
  readonly shmSize: number | undefined
  readonly signal: AbortSignal
  output(stream: 'stdout' | 'stderr', chunk: Uint8Array): void
}

export interface OnceResult {
  readonly exitCode: number
  readonly detail?: string
}

/** Runs it to its end. Throws RuntimeError or MountError when it could not be prepared; 126 and 127 are results. */
export async function runOnce(root: string, runRoot: string, once: Once): Promise<OnceResult> {
  const config = configOf(once)
  const undo: (() => void | Promise<void>)[] = []
  const made: string[] = []
  const { MountServer } = await import('../mount/server.js')
  const log = (line: string): void => void process.stderr.write(`${line}\n`)
  const lowersOfLayers = (layers: readonly DiffID[]) =>
    lowersOf(root, { kind: 'image', reference: '', id: '', layers: [...layers] })
  try {
    mkdirSync(runRoot, { recursive: true })
    const directory = mkdtempSync(join(runRoot, 'once-'))
    undo.push(() => rmSync(directory, { recursive: true, force: true }))
    const lowers = await lowersOfLayers(once.layers)
    const server = await MountServer.startDetached(
      { lowers, upper: once.upper, work: once.work, source: `lamina:${once.id}`, allowOther: true },
      { log },
    )
    undo.push(async () => {
      close(server.mountFd)
      await server.ended
      for (const path of made) removeIfEmpty(join(once.upper, path))
    })
    const cgroup = new Cgroup(`/lamina/${config.id}`)
    undo.push(() => cgroup.remove())
    cgroup.create()
    const network = await connectNetwork(new Containers(root, runRoot), config)
    undo.push(() => network.release())
    const etc = writeEtcFiles(directory, config, network.state?.address)
    const spec = buildSpec(config, {
      identity: { ...once.user, groups: [...once.user.groups], home: '/' },
      binds: etc.map(name => ({ source: join(directory, name), destination: `/etc/${name}`, readOnly: false })),
      sourceOf: m => m.source,
      namespaceOf: () => '',
      cgroupPath: cgroup.path,
      networkNamespace: network.namespacePath,
    })
    spec.process.env = [...once.env]
    const prepared = prepareMounts(spec)
    undo.push(() => prepared.close())
    for (const m of once.mounts) {
      if (m.type === 'secret') {
        const fd = secretTmpfs(m, prepared.fds)
        prepared.list.push(partOf(fd, 'secret', m.target, true))
      } else if (m.type === 'layers') {
        const part = await MountServer.startDetached(
          m.writable
            ? { lowers: await lowersOfLayers(m.layers), ...scratchUpper(directory, undo), allowOther: true }
            : { lowers: await lowersOfLayers(m.layers), allowOther: true },
          { log },
        )
        undo.push(async () => {
          close(part.mountFd)
          await part.ended
        })
        prepared.list.push(partOf(part.mountFd, m.source, m.target, await isFile(part.mountFd, m.source)))
      }
    }
    for (const m of prepared.list) await noteMissing(server.mountFd, m.destination, made)
    return await start(once, spec, server.mountFd, prepared.list, cgroup, undo)
  } finally {
    for (const step of undo.toReversed()) await step()
  }
}

async function start(
  once: Once,
  spec: ReturnType<typeof buildSpec>,
  root: number,
  mounts: readonly PreparedMount[],
  cgroup: Cgroup,
  undo: (() => void | Promise<void>)[],
): Promise<OnceResult> {
  const stdio = openPipes(once.user.uid, once.user.gid, false)
  undo.push(() => stdio.close())
  const entry = cgroup.openForBirth()
  try {
    let filter: Buffer | undefined
    if (spec.linux.seccomp !== undefined) {
      const { compile } = await import('./seccomp/compile.js')
      filter = compile(spec.linux.seccomp, spec.process.capabilities?.bounding ?? [])
    }
    const launched = await launch(
      spec,
      { fd: root, mounts, hierarchies: cgroup.hierarchies },
      {
        stdio: stdio.child,
        terminal: false,
        ...(filter === undefined ? {} : { filter }),
        cgroupProcs: entry.procs,
        ...(entry.v2 === undefined ? {} : { cgroupV2: entry.v2 }),
      },
    )
    stdio.listen((stream, chunk) => once.output(stream, chunk))
    const abort = (): void => void pidfdSignal(launched.pidfd, 9)
    if (once.signal.aborted) abort()
    once.signal.addEventListener('abort', abort)
    stdio.closeChild()
    const exit = await exitOf(launched.pidfd)
    once.signal.removeEventListener('abort', abort)
    cgroup.kill()
    await stdio.ended
    close(launched.pidfd)
    const oom = exit.signal === 9 && cgroup.oomKills() > 0
    return { exitCode: exit.code, ...(oom ? { detail: 'killed: out of memory' } : {}) }
  } catch (error) {
    const { code, message } = error as RuntimeError
    if (code === 'COMMAND_NOT_FOUND') return { exitCode: 127, detail: message }
    if (code === 'COMMAND_NOT_EXECUTABLE') return { exitCode: 126, detail: message }
    throw error
  } finally {
    for (const fd of entry.procs) close(fd)
    if (entry.v2 !== undefined) close(entry.v2)
  }
}

function configOf(once: Once): ContainerConfig {
  const config = freshConfig(newId(), once.id, { kind: 'image', reference: '', id: '', layers: [] })
  config.args = [...once.args]
  config.workdir = once.cwd
  config.privileged = once.insecure
  config.network = once.network === 'default' ? { network: 'bridge' } : once.network
  config.uts = once.network === 'host' ? 'host' : 'private'
  config.hostname = once.id.slice(0, 60)
  config.extraHosts = [...once.addHosts]
  if (once.shmSize !== undefined) config.shmSize = once.shmSize
  config.mounts = once.mounts.flatMap((m): ContainerConfig['mounts'] => {
    if (m.type === 'bind')
      return [{ kind: 'bind', source: m.source, destination: m.target, options: m.writable ? [] : ['ro'] }]
    if (m.type === 'socket') return [{ kind: 'bind', source: m.source, destination: m.target, options: [] }]
    if (m.type === 'tmpfs') {
      const size = m.size === undefined ? [] : [`size=${m.size}`]
      const mode = m.mode === undefined ? [] : [`mode=${m.mode.toString(8)}`]
      return [{ kind: 'tmpfs', source: '', destination: m.target, options: ['nosuid', 'nodev', ...size, ...mode] }]
    }
    return []
  })
  return config
}

function partOf(fd: number, path: string, destination: string, file: boolean): PreparedMount {
  const options = { set: 0, clear: 0, flags: 0, bind: true, recursive: false, propagation: 0, data: [] }
  return { destination, how: { do: 'part', fd, path }, options, file }
}

function scratchUpper(directory: string, undo: (() => void)[]): { upper: string; work: string } {
  const at = mkdtempSync(join(directory, 'upper-'))
  undo.push(() => rmSync(at, { recursive: true, force: true }))
  const paths = { upper: join(at, 'upper'), work: join(at, 'work') }
  mkdirSync(paths.upper)
  mkdirSync(paths.work)
  return paths
}

async function isFile(tree: number, path: string): Promise<boolean> {
  const fd = await openInRoot(tree, path, O.PATH)
  if (fd === undefined) return false
  const st = new Stat()
  const r = fstat(fd, st)
  close(fd)
  return r === 0 && (st.mode & S.IFMT) !== S.IFDIR
}

/** Adds `path` and its parents to `made` as far as the tree has them not, deepest first. */
async function noteMissing(tree: number, path: string, made: string[]): Promise<void> {
  for (let at = path; at !== '/' && !made.includes(at); at = dirname(at)) {
    const fd = await openInRoot(tree, at, O.PATH)
    if (fd !== undefined) {
      close(fd)
      return
    }
    made.push(at)
  }
}

/** Removes an empty file or directory; what the command has filled stays. */
function removeIfEmpty(path: string): void {
  const st = lstatSync(path, { throwIfNoEntry: false })
  if (st === undefined) return
  if (st.isDirectory()) {
    try {
      rmdirSync(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY') throw error
    }
  } else if (st.isFile() && st.size === 0) unlinkSync(path)
}
