/**
 * Owns running a RUN step for real: `RuntimeExecutor` joins lib/build's `Executor` and lib/runtime's parts: the layers
 * with a fresh upper served as a detached mount, a process in namespaces of its own, and afterwards nothing of it.
 * No container record is written: a step has no name and no life after its command.
 * Invariants: the step sees nothing of the host but the cache directories and sockets it was given; what the mounts left
 * in the upper (their mountpoints) is taken away again.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Execution, ExecutionMount, ExecutionResult, Executor } from '../build/executor.js'
import { bytesOf } from '../bytes.js'
import { chainsOf, type DiffID } from '../digest.js'
import { check } from '../errno.js'
import { ensureChain, layerIndex } from '../image/chain.js'
import type { Store } from '../image/store.js'
import { MountServer } from '../mount/server.js'
import type { Driver, LowerSpec } from '../mount/spec.js'
import { allCapabilities, chooseCapabilities } from '../runtime/capabilities.js'
import { Cgroup } from '../runtime/cgroup/cgroup.js'
import { ownCgroup } from '../runtime/cgroup/own.js'
import { hierarchies } from '../runtime/cgroup/hierarchy.js'
import { mountsForUser } from '../runtime/default-mounts.js'
import { hostsFile, resolvConf } from '../runtime/etc-files.js'
import { launch } from '../runtime/launch.js'
import { readMountOptions } from '../runtime/mount-options.js'
import {
  defaultDeviceRules,
  defaultDevices,
  maskedPaths,
  readonlyPaths,
  type NamespaceType,
  type OciMount,
  type OciSpec,
} from '../runtime/oci.js'
import { prepareMounts, secretTmpfs, type PreparedMount } from '../runtime/prepare.js'
import { compile } from '../runtime/seccomp/compile.js'
import { defaultProfile } from '../runtime/seccomp/profile.js'
import { drained } from '../runtime/drain.js'
import { openPipes } from '../runtime/streams.js'
import { AT, MOUNT_ATTR, O, OPEN_TREE, RESOLVE } from '../sys/constants.js'
import { close, openat, openat2 } from '../sys/file.js'
import { fsconfig, FSCONFIG, fsconfigString, fsmount, fsopen, mountSetattr, openTree } from '../sys/mount.js'
import { exitOf, pidfdSignal } from '../sys/process.js'
import { Mountpoints } from './build-mountpoints.js'

const SHM = 64 << 20
const HOSTNAME = 'buildkitsandbox'
const PARENT = '/lamina'
/** How long output may still come once the command and all its children are gone. */
const DRAIN = 2000

export interface NetworkOfBuild {
  /** The namespace that steps with the default network join; undefined: one of their own, with nothing but loopback. */
  path(): Promise<string | undefined>
}

export class RuntimeExecutor implements Executor {
  readonly #store: Store
  readonly #tmp: string
  readonly #network: NetworkOfBuild
  readonly #driver: Driver
  readonly #log: (line: string) => void

  /** `tmp` is a directory on the store's filesystem that goes away with the build. */
  constructor(
    store: Store,
    tmp: string,
    network: NetworkOfBuild,
    driver: Driver,
    log: (line: string) => void = () => {},
  ) {
    this.#driver = driver
    this.#store = store
    this.#tmp = tmp
    this.#network = network
    this.#log = log
    sweepCgroups()
  }

  async execute(execution: Execution): Promise<ExecutionResult> {
    const undo: (() => void | Promise<void>)[] = []
    const { upper, work } = execution
    // The filesystem's thread starts while the rest is prepared here.
    const opening = this.#serve(execution.layers, { upper, work, volatile: true }, undo)
    try {
      return await this.#run(execution, opening, undo)
    } finally {
      await opening.catch(() => undefined)
      for (let step = undo.pop(); step; step = undo.pop()) await step()
    }
  }

  async #run(
    execution: Execution,
    opening: Promise<number>,
    undo: (() => void | Promise<void>)[],
  ): Promise<ExecutionResult> {
    const { upper, signal } = execution
    const cgroup = await ownCgroup(`${PARENT}/${execution.id}`)
    undo.push(() => cgroup.remove())
    cgroup.create()
    const own: PreparedMount[] = []
    for (const mount of execution.mounts) own.push(...(await this.#mount(mount, undo)))
    const network = execution.network === 'default' ? await this.#network.path() : undefined
    own.push(...etcFiles(execution, undo))
    const root = await opening
    const mountpoints = new Mountpoints(root, upper)
    const spec = specOf(execution, network, cgroup.path)
    for (const m of [...spec.mounts, ...own]) mountpoints.note(m.destination)
    mountpoints.note(execution.cwd)
    // After the mount has gone: the upper is a plain directory then.
    undo.unshift(() => mountpoints.remove())

    const prepared = prepareMounts(spec)
    undo.push(() => prepared.close())
    const stdio = openPipes(execution.user.uid, execution.user.gid, false)
    undo.push(() => stdio.close())
    const entry = cgroup.openForBirth()
    const filter = spec.linux.seccomp && compile(spec.linux.seccomp, spec.process.capabilities?.bounding ?? [])
    let launched
    try {
      cgroup.limit(spec.linux.resources ?? {})
      launched = await launch(
        spec,
        { fd: root, mounts: [...prepared.list, ...own], hierarchies: cgroup.hierarchies },
        {
          stdio: stdio.child,
          terminal: false,
          ...(filter === undefined ? {} : { filter }),
          cgroupProcs: entry.procs,
          ...(entry.v2 === undefined ? {} : { cgroupV2: entry.v2 }),
        },
      )
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      if (code === 'COMMAND_NOT_FOUND') return { exitCode: 127, detail: message }
      if (code === 'COMMAND_NOT_EXECUTABLE') return { exitCode: 126, detail: message }
      throw error
    } finally {
      stdio.closeChild()
      for (const fd of entry.procs) close(fd)
      if (entry.v2 !== undefined) close(entry.v2)
    }
    const { pidfd } = launched
    const stop = (): void => void pidfdSignal(pidfd, 9)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    try {
      stdio.listen((stream, chunk) => execution.output(stream, chunk))
      const exit = await exitOf(pidfd)
      const oom = cgroup.oomKills() > 0 && exit.signal === 9
      cgroup.kill()
      await drained(stdio, DRAIN)
      return { exitCode: exit.code, ...(oom ? { detail: 'killed: out of memory' } : {}) }
    } finally {
      signal.removeEventListener('abort', stop)
      close(pidfd)
    }
  }

  /** Topmost first. What is flat already (a base image's chain) is one lower. */
  #lowers(layers: readonly DiffID[]): LowerSpec[] {
    const { objects } = this.#store
    const found: LowerSpec[] = []
    for (const [i, chain] of [...chainsOf(layers).entries()].reverse()) {
      const flat = this.#store.chain(chain)
      if (existsSync(flat)) return [...found, { kind: 'index', path: flat, objects }]
      found.push({ kind: 'index', path: layerIndex(this.#store, chain, layers[i]!), objects })
    }
    return [...found, { kind: 'index', path: ensureChain(this.#store, this.#tmp, []), objects }]
  }

  async #serve(
    layers: readonly DiffID[],
    over: { upper: string; work: string; volatile: boolean } | undefined,
    undo: (() => void | Promise<void>)[],
  ): Promise<number> {
    const driver = over === undefined ? 'fuse' : this.#driver
    const spec = { lowers: this.#lowers(layers), ...over, driver, allowOther: true, source: 'lamina:build' }
    const server = await MountServer.startDetached(spec, { log: this.#log })
    undo.push(async () => {
      close(server.mountFd)
      await server.ended
    })
    return server.mountFd
  }

  async #mount(mount: ExecutionMount, undo: (() => void | Promise<void>)[]): Promise<PreparedMount[]> {
    const at = (fd: number, file: boolean): PreparedMount[] => {
      undo.push(() => void close(fd))
      return [{ destination: mount.target, how: { do: 'attach', fd }, options: readMountOptions(['rprivate']), file }]
    }
    switch (mount.type) {
      case 'bind': {
        const fd = check(openTree(AT.FDCWD, bytesOf(mount.source), OPEN_TREE.CLONE), 'open_tree', mount.source)
        const set = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | (mount.writable ? 0 : MOUNT_ATTR.RDONLY)
        check(mountSetattr(fd, '', AT.EMPTY_PATH, set, 0), 'mount_setattr', mount.source)
        return at(fd, false)
      }
      case 'layers': {
        let over
        if (mount.writable) {
          const directory = mkdtempSync(join(this.#tmp, 'bind-'))
          const [upper, work] = [join(directory, 'upper'), join(directory, 'work')]
          mkdirSync(upper, { mode: 0o755 })
          mkdirSync(work)
          undo.push(() => rmSync(directory, { recursive: true, force: true }))
          over = { upper, work, volatile: true }
        }
        const root = await this.#serve(mount.layers, over, undo)
        return [partOf(root, mount.source, mount.target, isFile(root, mount.source))]
      }
      case 'tmpfs': {
        const data = [
          ...(mount.size === undefined ? [] : [`size=${mount.size}`]),
          `mode=${(mount.mode ?? 0o1777).toString(8)}`,
        ]
        return at(tmpfs(data, MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV), false)
      }
      case 'secret': {
        const fds: number[] = []
        undo.push(() => fds.forEach(close))
        return [partOf(secretTmpfs(mount, fds), 'secret', mount.target, true)]
      }
      case 'socket': {
        const fd = check(openTree(AT.FDCWD, bytesOf(mount.source), OPEN_TREE.CLONE), 'open_tree', mount.source)
        return at(fd, true)
      }
    }
  }
}

/** A tmpfs that is in no tree yet. */
function tmpfs(data: readonly string[], attributes: number): number {
  const context = check(fsopen('tmpfs'), 'fsopen', 'tmpfs')
  try {
    for (const word of data) {
      const [key = '', value = ''] = word.split('=')
      check(fsconfigString(context, key, value), `fsconfig ${word}`, 'tmpfs')
    }
    check(fsconfig(context, FSCONFIG.CMD_CREATE, null), 'fsconfig', 'tmpfs')
    return check(fsmount(context, attributes), 'fsmount', 'tmpfs')
  } finally {
    close(context)
  }
}

/** What is at `path` in a detached mount, put at `destination`. */
function partOf(fd: number, path: string, destination: string, file: boolean): PreparedMount {
  return { destination, how: { do: 'part', fd, path }, options: readMountOptions(['rprivate']), file }
}

/** The image's own links are followed inside of it. Throws FsError ENOENT. */
function isFile(root: number, path: string): boolean {
  const inside = bytesOf(path.replace(/^\/+/, '') || '.')
  const source = check(openat2(root, inside, O.PATH, 0, RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS), 'open', path)
  const directory = openat(source, '.', O.PATH | O.DIRECTORY)
  if (directory >= 0) close(directory)
  close(source)
  return directory < 0
}

/** /etc/hosts and /etc/resolv.conf of a step: files in memory over the image's own. */
function etcFiles(execution: Execution, undo: (() => void)[]): PreparedMount[] {
  const host = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')
  const onHost = execution.network === 'host'
  const extra = execution.addHosts
  const added = extra.map(e => `${e.slice(e.indexOf(':') + 1)}\t${e.slice(0, e.indexOf(':'))}\n`).join('')
  const hosts = onHost ? host('/etc/hosts') + added : hostsFile(HOSTNAME, '', '127.0.0.1', extra)
  const files: [string, string][] = [['/etc/hosts', hosts]]
  if (execution.network !== 'none') {
    const settings = { dns: [], dnsSearch: [], dnsOptions: [] }
    files.push(['/etc/resolv.conf', resolvConf(host('/etc/resolv.conf'), settings, !onHost)])
  }
  return files.map(([destination, text]) => {
    const fds: number[] = []
    undo.push(() => fds.forEach(close))
    const fd = secretTmpfs({ data: Buffer.from(text), mode: 0o644, uid: 0, gid: 0 }, fds)
    return partOf(fd, 'secret', destination, true)
  })
}

function specOf(execution: Execution, network: string | undefined, cgroupPath: string): OciSpec {
  const { user, insecure } = execution
  const bounding = (insecure ? [...allCapabilities] : chooseCapabilities()).filter(hasCapability)
  const now = user.uid === 0 ? bounding : []
  const namespaces: { type: NamespaceType; path?: string }[] = [
    { type: 'mount' },
    { type: 'ipc' },
    { type: 'uts' },
    { type: 'cgroup' },
    { type: 'pid' },
  ]
  if (execution.network !== 'host')
    namespaces.push(network === undefined ? { type: 'network' } : { type: 'network', path: network })
  const mounts: OciMount[] = mountsForUser(execution.shmSize ?? SHM, execution.network === 'host')
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: user.uid, gid: user.gid, additionalGids: [...user.groups] },
      args: [...execution.args],
      env: [...execution.env],
      cwd: execution.cwd,
      capabilities: { bounding, effective: now, permitted: now, inheritable: [], ambient: [] },
    },
    root: { path: 'rootfs' },
    hostname: HOSTNAME,
    mounts,
    linux: {
      namespaces,
      devices: [...defaultDevices],
      cgroupsPath: cgroupPath,
      resources: { devices: insecure ? [{ allow: true, access: 'rwm' }] : [...defaultDeviceRules] },
      maskedPaths: insecure ? [] : [...maskedPaths],
      readonlyPaths: insecure ? [] : [...readonlyPaths],
      rootfsPropagation: 'rprivate',
      ...(insecure ? {} : { seccomp: defaultProfile }),
    },
  }
}

/** Capabilities that this process cannot give are left out. */
function hasCapability(name: string): boolean {
  const own = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'}`)
  return (own & (1n << BigInt(allCapabilities.indexOf(name)))) !== 0n
}

/** Ends what a killed build left: cgroups `build-PID-N` of processes that are gone. */
function sweepCgroups(): void {
  for (const h of hierarchies()) {
    let names: string[]
    try {
      names = readdirSync(join(h.mountpoint, PARENT))
    } catch {
      continue
    }
    for (const name of names) {
      const pid = /^build-(\d+)-\d+$/.exec(name)?.[1]
      if (pid === undefined || existsSync(`/proc/${pid}`)) continue
      const cgroup = new Cgroup(`${PARENT}/${name}`, [h])
      cgroup.kill()
      cgroup.remove().catch(() => undefined)
    }
  }
}
