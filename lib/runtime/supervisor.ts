/**
 * Owns one container while it runs: serves its root, starts its process, carries its stdio, keeps its state and log,
 * answers on its socket, and cleans up. It lives in the process of a foreground `run`, or in one of its own
 * (supervisor-main.ts) that outlives the command line.
 * Invariant: whatever happens between `start` and `done`, the state on disk is enough for `sweep` to end it.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { close } from '../sys/file.js'
import { exitOf, pidfdSignal, signalNumber, type Exit } from '../sys/process.js'
import { writeJson } from './atomic.js'
import { Cgroup } from './cgroup/cgroup.js'
import type { ContainerState } from './config.js'
import { bootId, ownStart, startOf, type Container, type Containers } from './containers.js'
import { drained } from './drain.js'
import { RuntimeError } from './error.js'
import { launch, type Launched } from './launch.js'
import { LogWriter, type Stream } from './log.js'
import type { OciSpec } from './oci.js'
import { prepareMounts } from './prepare.js'
import { isRootless } from './rootless.js'
import { openRootfs, type Rootfs } from './rootfs.js'
import { openPipes, openTerminal, type Stdio } from './streams.js'

/** Whoever wants the container's output as it comes. */
export interface Listener {
  output(stream: Stream, chunk: Buffer): void
  /** The container has ended and all output was given. */
  ended(exitCode: number): void
}

export interface SupervisorOptions {
  /** Terminal size at the start. */
  size?: { rows: number; columns: number } | undefined
  /** Lines for whoever debugs the filesystem's server. */
  log(line: string): void
}

interface Running {
  launched: Launched
  /** The one watch of its pidfd: the event loop takes no second one. */
  exit: Promise<Exit>
  stdio: Stdio
  cgroup: Cgroup
  rootfs: Rootfs
  release(): Promise<void>
}

export class Supervisor {
  readonly #containers: Containers
  readonly #container: Container
  readonly #options: SupervisorOptions
  readonly #listeners = new Set<Listener>()
  #running: Running | undefined
  #writer: LogWriter | undefined
  #health: { stop(): void } | undefined

  constructor(containers: Containers, container: Container, options: SupervisorOptions) {
    this.#containers = containers
    this.#container = container
    this.#options = options
  }

  get state(): ContainerState {
    return this.#container.state
  }

  get container(): Container {
    return this.#container
  }

  /** Pid of the container's first process as the host sees it; 0 when it does not run. */
  get pid(): number {
    return this.#running?.launched.pid ?? 0
  }

  #update(change: Partial<ContainerState>): void {
    this.#container.state = { ...this.#container.state, ...change }
    this.#containers.writeState(this.#container.id, this.#container.state)
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Brings the container to its running program; `beforeExec` is waited for when all else is ready. On failure everything is undone and the state says why (exit code 127,
   * 126 or 125 as docker's), and the cause is thrown.
   */
  async start(beforeExec: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const { config, directory, runDirectory } = this.#container
    mkdirSync(runDirectory, { recursive: true, mode: 0o700 })
    const path = `${config.cgroupParent}/${config.id}`
    this.#update({
      status: 'running',
      supervisor: process.pid,
      supervisorStart: ownStart(),
      boot: bootId(),
      cgroup: path,
      pid: 0,
      error: '',
      oomKilled: false,
      exitCode: 0,
      stoppedByUser: false,
      startedAt: new Date().toISOString(),
      finishedAt: '',
    })
    const undo: (() => void | Promise<void>)[] = []
    try {
      const { lowersOf } = await import('./image-root.js')
      const lowers = await lowersOf(this.#containers.root, config.root)
      // The filesystem's thread starts while the rest is prepared here.
      const opening = openRootfs(lowers, directory, config, line => this.#options.log(line))
      opening.catch(() => undefined)
      let cgroup = new Cgroup(path)
      undo.push(() => cgroup.remove())
      undo.push(async () => {
        const opened = await opening.catch(() => undefined)
        await opened?.close()
      })
      try {
        cgroup.create()
      } catch (error) {
        if (!isRootless()) throw error
        // No cgroup was delegated to this user: without limits it runs all the same.
        cgroup = new Cgroup('')
        this.#update({ cgroup: '' })
        if (Object.keys(config.resources).length > 0)
          throw new RuntimeError('UNSUPPORTED', 'limits need a cgroup that is delegated to this user')
      }
      const { connectNetwork } = await import('./network/connect.js')
      const network = await connectNetwork(this.#containers, config)
      undo.push(() => network.release())
      this.#update({ network: network.state })
      const rootfs = await opening
      const { resolve } = await import('./resolve.js')
      const spec = await resolve(this.#containers, this.#container, rootfs.fd, path, network)
      writeJson(join(directory, 'config.json'), spec)
      await beforeExec()
      const { launched, stdio } = await this.#launch(spec, rootfs, cgroup, undo)
      this.#running = {
        launched,
        exit: exitOf(launched.pidfd),
        stdio,
        cgroup,
        rootfs,
        release: async () => {
          for (const step of undo.toReversed()) await step()
        },
      }
      this.#update({
        pid: launched.pid,
        pidStart: startOf(launched.pid),
        network: await network.attached(launched.pid),
      })
      if (config.oomScoreAdj !== 0) writeFileSync(`/proc/${launched.pid}/oom_score_adj`, String(config.oomScoreAdj))
      if (config.health !== undefined) {
        const { watchHealth } = await import('./health.js')
        this.#health = watchHealth(this.#container, config.health, health => this.#update({ health }))
      }
    } catch (error) {
      for (const step of undo.toReversed()) await step()
      const { code, message } = error as RuntimeError
      const exitCode = code === 'COMMAND_NOT_FOUND' ? 127 : code === 'COMMAND_NOT_EXECUTABLE' ? 126 : 125
      this.#update({
        status: 'exited',
        exitCode,
        error: message,
        finishedAt: new Date().toISOString(),
        supervisor: 0,
        network: undefined,
      })
      throw error
    }
  }

  async #launch(
    spec: OciSpec,
    rootfs: Rootfs,
    cgroup: Cgroup,
    undo: (() => void | Promise<void>)[],
  ): Promise<{ launched: Launched; stdio: Stdio }> {
    const { config, directory } = this.#container
    const prepared = prepareMounts(spec)
    let stdio: Stdio | undefined
    const entry = { procs: [] as number[], v2: undefined as number | undefined }
    try {
      if (cgroup.path !== '') cgroup.limit(spec.linux.resources ?? {})
      Object.assign(entry, cgroup.openForBirth())
      const { uid, gid } = spec.process.user
      stdio = config.tty
        ? openTerminal(prepared.devpts, uid, this.#options.size)
        : openPipes(uid, gid, config.interactive)
      const opened = stdio
      undo.push(() => opened.close())
      if (!config.log.off && this.#writer === undefined)
        this.#writer = new LogWriter(join(directory, 'log'), config.log.maxSize, config.log.maxFiles)
      let filter: Buffer | undefined
      if (spec.linux.seccomp !== undefined) {
        const { compile } = await import('./seccomp/compile.js')
        filter = compile(spec.linux.seccomp, spec.process.capabilities?.bounding ?? [])
      }
      const launched = await launch(
        spec,
        { fd: rootfs.fd, mounts: prepared.list, hierarchies: cgroup.hierarchies },
        {
          stdio: stdio.child,
          terminal: config.tty,
          ...(stdio.ptsNumber === undefined ? {} : { console: stdio.ptsNumber }),
          ...(filter === undefined ? {} : { filter }),
          cgroupProcs: entry.procs,
          ...(entry.v2 === undefined ? {} : { cgroupV2: entry.v2 }),
        },
      )
      stdio.listen((stream, chunk) => {
        this.#writer?.write(stream, chunk)
        for (const l of this.#listeners) l.output(stream, chunk)
      })
      return { launched, stdio }
    } finally {
      stdio?.closeChild()
      for (const fd of entry.procs) close(fd)
      if (entry.v2 !== undefined) close(entry.v2)
      prepared.close()
    }
  }

  /** Waits for the end of the process that `start` started, cleans up, writes the state. Returns its exit code. */
  async finished(): Promise<number> {
    const running = this.#running
    if (running === undefined) return this.state.exitCode
    const { launched, stdio, cgroup } = running
    const exit = await running.exit
    this.#health?.stop()
    this.#health = undefined
    const oomKilled = cgroup.oomKills() > 0 && exit.signal === 9
    // With a pid namespace of the host's or of another container, children may live on.
    cgroup.kill()
    await drained(stdio, 2000)
    this.#running = undefined
    close(launched.pidfd)
    await running.release()
    this.#writer?.close()
    this.#writer = undefined
    const again = this.#containers.load(this.#container.id)
    this.#container.config = again?.config ?? this.#container.config
    this.#container.state.stoppedByUser = this.#stopping
    this.#update({
      status: 'exited',
      exitCode: exit.code,
      oomKilled,
      pid: 0,
      finishedAt: new Date().toISOString(),
      network: undefined,
      ...(this.#willRestart(exit.code) ? { status: 'running' as const } : { supervisor: 0 }),
    })
    return exit.code
  }

  #stopping = false

  #willRestart(exitCode: number): boolean {
    const { restart } = this.#container.config
    if (this.#stopping) return this.#restarting
    if (restart.name === 'no') return false
    if (restart.name !== 'on-failure') return true
    return exitCode !== 0 && (restart.retries === 0 || this.state.restartCount < restart.retries)
  }

  #restarting = false

  /** Runs the container to its last end, restarting as its policy says. Returns the last exit code. */
  async supervise(): Promise<number> {
    let delay = 100
    for (;;) {
      const since = Date.now()
      const exitCode = await this.finished()
      if (!this.#willRestart(exitCode)) {
        for (const l of this.#listeners) l.ended(exitCode)
        return exitCode
      }
      // A program that ends at once is tried ever more seldom, up to a minute (Docker's rule).
      delay = Date.now() - since > 10_000 ? 100 : Math.min(60_000, delay * 2)
      if (!this.#restarting) await this.#pause(delay)
      if (this.#stopping && !this.#restarting) {
        this.#update({ status: 'exited', supervisor: 0 })
        for (const l of this.#listeners) l.ended(exitCode)
        return exitCode
      }
      const restartCount = this.state.restartCount + (this.#restarting ? 0 : 1)
      this.#stopping = this.#restarting = false
      await this.start()
      this.#update({ restartCount })
    }
  }

  #wake: () => void = () => undefined

  /** Waits between restarts; a stop ends it. The timer keeps this process alive: nothing else does then. */
  #pause(milliseconds: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, milliseconds)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** Sends a signal to the container's first process. */
  signal(number: number): void {
    if (this.#running !== undefined) pidfdSignal(this.#running.launched.pidfd, number)
  }

  /** Sends `signal`, and SIGKILL if it is not gone after `timeout` seconds (< 0: never). */
  async stop(signal: number, timeout: number, restart = false): Promise<void> {
    this.#stopping = true
    this.#restarting = restart
    this.#wake()
    const running = this.#running
    if (running === undefined) return
    const { launched, cgroup } = running
    await cgroup.freeze(false).catch(() => undefined)
    pidfdSignal(launched.pidfd, signal)
    const ended = running.exit
    if (timeout >= 0) {
      const late = await Promise.race([ended.then(() => false), settled(timeout * 1000).then(() => true)])
      if (late) pidfdSignal(launched.pidfd, 9)
    }
    await ended
  }

  write(chunk: Buffer): boolean {
    return this.#running?.stdio.write(chunk) ?? true
  }

  onDrain(ready: () => void): void {
    this.#running?.stdio.onDrain(ready)
  }

  endStdin(): void {
    this.#running?.stdio.endStdin()
  }

  resize(rows: number, columns: number): void {
    this.#running?.stdio.resize(rows, columns)
  }
}

function settled(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds).unref())
}

/** The number of a container's stop signal. */
export function stopSignalOf(name: string): number {
  const number = signalNumber(name)
  if (number === undefined) throw new RuntimeError('INVALID', `signal ${name}: there is none of that name`)
  return number
}
