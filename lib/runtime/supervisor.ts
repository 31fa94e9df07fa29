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
import { writeBundle } from './bundle.js'
import type { Cgroup } from './cgroup/cgroup.js'
import { ownCgroup } from './cgroup/own.js'
import type { ContainerState } from './config.js'
import { bootId, isSupervised, ownStart, startOf, type Container, type Containers } from './containers.js'
import { drained } from './drain.js'
import { RuntimeError } from './error.js'
import type { ImageMount } from './image-mounts.js'
import type { Launched } from './launch.js'
import { LogWriter, type Stream } from './log.js'
import { isRootless } from './rootless.js'
import { openRootfs, type Rootfs } from './rootfs.js'
import { runtimeOf } from './runtime-of.js'
import { startProcess } from './start-process.js'
import type { Stdio } from './streams.js'

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
  /** What the user must know although the container starts: a limit that cannot be set, a port not forwarded. */
  warn(line: string): void
}

interface Running {
  launched: Launched
  send(signal: number): void
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
   * Makes the container this process's own, if it is there and nobody else's. Returns its cgroup, not made yet. Throws
   * NO_SUCH_CONTAINER, WRONG_STATE.
   */
  async claim(): Promise<Cgroup> {
    const { config, id } = this.#container
    const cgroup = await ownCgroup(`${config.cgroupParent}/${id}`)
    const claimed = await this.#containers.alone(id, ({ state }) => {
      if (state.status === 'running' && state.supervisor !== process.pid && isSupervised(state))
        throw new RuntimeError('WRONG_STATE', `start ${config.name}: it is running`)
      this.#update({
        status: 'running',
        supervisor: process.pid,
        supervisorStart: ownStart(),
        boot: bootId(),
        cgroup: cgroup.path,
        pid: 0,
        error: '',
        oomKilled: false,
        exitCode: 0,
        stoppedByUser: false,
        startedAt: new Date().toISOString(),
        finishedAt: '',
      })
      return cgroup
    })
    if (claimed === undefined) throw new RuntimeError('NO_SUCH_CONTAINER', `no such container: ${config.name}`)
    return claimed
  }

  /**
   * Brings the container to its running program; `beforeExec` is waited for when all else is ready. On failure everything is undone and the state says why (exit code 127,
   * 126 or 125 as docker's), and the cause is thrown.
   */
  async start(beforeExec: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const cgroup = await this.claim()
    const { config, directory, runDirectory } = this.#container
    mkdirSync(runDirectory, { recursive: true, mode: 0o700 })
    const undo: (() => void | Promise<void>)[] = []
    try {
      const { lowersOf } = await import('./image-root.js')
      const lowers = await lowersOf(this.#containers.root, config.root)
      // The filesystem's thread starts while the rest is prepared here.
      const opening = openRootfs(lowers, directory, config, line => this.#options.log(line))
      opening.catch(() => undefined)
      undo.push(() => cgroup.remove())
      undo.push(async () => {
        const opened = await opening.catch(() => undefined)
        await opened?.close()
      })
      cgroup.create()
      const ignore = (option: string, why: string): void => this.#options.warn(`${option} is not applied: ${why}`)
      cgroup.limit(config.resources, isRootless() ? ignore : undefined)
      const { connectNetwork } = await import('./network/connect.js')
      const network = await connectNetwork(this.#containers, config, this.#options.warn)
      undo.push(() => network.release())
      this.#update({ network: network.state })
      const rootfs = await opening
      const { resolve } = await import('./resolve.js')
      const images = await this.#imageMounts(undo)
      const spec = await resolve(this.#containers, this.#container, rootfs.fd, cgroup.path, network, images)
      writeBundle(directory, spec)
      await beforeExec()
      const { size } = this.#options
      const { launched, stdio } = await startProcess(this.#container, spec, { root: rootfs.fd, images, cgroup, size })
      undo.push(() => stdio.close())
      if (!config.log.off && this.#writer === undefined)
        this.#writer = new LogWriter(join(directory, 'log'), config.log.maxSize, config.log.maxFiles)
      stdio.listen((stream, chunk) => {
        this.#writer?.write(stream, chunk)
        for (const l of this.#listeners) l.output(stream, chunk)
      })
      const runtime = await runtimeOf(this.#container)
      if (runtime !== undefined) undo.push(() => runtime.delete())
      this.#running = {
        launched,
        send: signal => void (runtime === undefined ? pidfdSignal(launched.pidfd, signal) : runtime.kill(signal)),
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
      this.#asked?.()
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

  async #imageMounts(undo: (() => void | Promise<void>)[]): Promise<ImageMount[]> {
    if (!this.#container.config.mounts.some(m => m.kind === 'image')) return []
    const { openImageMounts } = await import('./image-mounts.js')
    const { list, close: end } = await openImageMounts(this.#containers, this.#container, this.#options.log)
    undo.push(end)
    return list
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
  /** A stop that came before there was a process. */
  #asked: (() => void) | undefined

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
      this.#asked = undefined
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
    this.#running?.send(number)
  }

  /** Sends `signal`, and SIGKILL if it is not gone after `timeout` seconds (< 0: never). */
  async stop(signal: number, timeout: number, restart = false): Promise<void> {
    this.#stopping = true
    this.#restarting = restart
    this.#wake()
    const running = this.#running
    this.#asked = running === undefined ? () => void this.stop(signal, timeout, restart) : undefined
    if (running === undefined) return
    const { send, cgroup } = running
    await cgroup.freeze(false).catch(() => undefined)
    send(signal)
    const ended = running.exit
    if (timeout >= 0) {
      const late = await Promise.race([ended.then(() => false), settled(timeout * 1000).then(() => true)])
      if (late) send(9)
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
