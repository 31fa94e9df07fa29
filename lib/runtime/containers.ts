/**
 * Owns the directory of containers: `<root>/containers/<id>/` with container.json, state.json, upper/, work/, log, and
 * the same id below `<run root>/containers/` for what a reboot may take (socket, hosts file).
 * Invariant: what a killed process has left is swept before anybody sees it (`Containers.all` reconciles).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { startTime } from '../sys/process.js'
import { FsError } from '../errno.js'
import { locked, lockedDirectory, readJson, writeJson } from './atomic.js'
import { freshState, type ContainerConfig, type ContainerState } from './config.js'
import { RuntimeError } from './error.js'

/** One container with what is known of it. Read again with `Containers.load`. */
export interface Container {
  readonly id: string
  /** `<root>/containers/<id>`. */
  readonly directory: string
  /** `<run root>/c/<first 12 of id>`: short, since a socket's path has 107 bytes. */
  readonly runDirectory: string
  config: ContainerConfig
  state: ContainerState
}

export class Containers {
  readonly root: string
  readonly runRoot: string

  constructor(root: string, runRoot: string) {
    this.root = root
    this.runRoot = runRoot
  }

  directory(id: string): string {
    return join(this.root, 'containers', id)
  }

  runDirectory(id: string): string {
    return join(this.runRoot, 'c', id.slice(0, 12))
  }

  #ids(): string[] {
    try {
      return readdirSync(join(this.root, 'containers')).filter(id => /^[0-9a-f]{64}$/.test(id))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  }

  /** Reads one container; undefined when it is gone (or was never finished). */
  load(id: string): Container | undefined {
    const directory = this.directory(id)
    const config = readJson<ContainerConfig>(join(directory, 'container.json'))
    if (config === undefined) return undefined
    const state = { ...freshState, ...readJson<ContainerState>(join(directory, 'state.json')) }
    return { id, directory, runDirectory: this.runDirectory(id), config, state }
  }

  /** Every container, oldest first, after sweeping. */
  async all(): Promise<Container[]> {
    const list: Container[] = []
    for (const id of this.#ids()) {
      const loaded = this.load(id)
      if (loaded === undefined) {
        this.#sweepUnfinished(id)
        continue
      }
      const container = await this.reconcile(loaded)
      if (container !== undefined) list.push(container)
    }
    return list.sort((a, b) => (a.config.created < b.config.created ? -1 : 1))
  }

  /** A directory without container.json is what a killed create or rm left. A young one may still be in the making. */
  #sweepUnfinished(id: string): void {
    const owner = readJson<{ pid: number; start: string }>(join(this.directory(id), 'creator.json'))
    if (owner !== undefined && isAlive(owner.pid, owner.start)) return
    rmSync(this.directory(id), { recursive: true, force: true })
  }

  /** Finds by name, id or a prefix of the id that only one has. */
  async find(text: string): Promise<Container> {
    const all = await this.all()
    const exact = all.find(c => c.config.name === text) ?? all.find(c => c.id === text)
    if (exact !== undefined) return exact
    const matches = /^[0-9a-f]+$/.test(text) ? all.filter(c => c.id.startsWith(text)) : []
    const [one, another] = matches
    if (one === undefined) throw new RuntimeError('NO_SUCH_CONTAINER', `no such container: ${text}`)
    if (another !== undefined) throw new RuntimeError('AMBIGUOUS_CONTAINER', `container ${text}: several ids begin so`)
    return one
  }

  /** Runs `work` while no other command creates, renames or removes a container. */
  lock<T>(work: () => T | Promise<T>): Promise<T> {
    return locked(join(this.root, 'containers', '.lock'), work)
  }

  /**
   * Runs `work` while nobody else starts, removes or sweeps that container, with what it is by then; undefined when it is
   * gone. Not to be nested.
   */
  async alone<T>(id: string, work: (now: Container) => T | Promise<T>): Promise<T | undefined> {
    try {
      return await lockedDirectory(this.directory(id), () => {
        const now = this.load(id)
        return now === undefined ? undefined : work(now)
      })
    } catch (error) {
      if (error instanceof FsError && error.code === 'ENOENT' && !existsSync(this.directory(id))) return undefined
      throw error
    }
  }

  #configs(): ContainerConfig[] {
    return this.#ids().flatMap(id => readJson<ContainerConfig>(join(this.directory(id), 'container.json')) ?? [])
  }

  /** Names in use and whose they are, without sweeping. */
  names(): Map<string, string> {
    return new Map(this.#configs().map(c => [c.name, c.id]))
  }

  /** Names of the volumes that containers have, without sweeping. */
  volumes(): Set<string> {
    return new Set(this.#configs().flatMap(c => c.mounts.flatMap(m => (m.kind === 'volume' ? [m.source] : []))))
  }

  /** Writes a new container. Throws NAME_TAKEN. The caller holds the lock. */
  add(config: ContainerConfig): Container {
    const other = this.names().get(config.name)
    if (other !== undefined)
      throw new RuntimeError('NAME_TAKEN', `name ${config.name}: in use by container ${other.slice(0, 12)}`)
    const directory = this.directory(config.id)
    mkdirSync(directory, { recursive: true, mode: 0o711 })
    writeJson(join(directory, 'creator.json'), { pid: process.pid, start: ownStart() })
    for (const name of ['upper', 'work']) mkdirSync(join(directory, name), { mode: 0o755 })
    writeJson(join(directory, 'state.json'), freshState)
    writeJson(join(directory, 'container.json'), config)
    rmSync(join(directory, 'creator.json'))
    return this.load(config.id) as Container
  }

  writeConfig(config: ContainerConfig): void {
    writeJson(join(this.directory(config.id), 'container.json'), config)
  }

  writeState(id: string, state: ContainerState): void {
    if (existsSync(this.directory(id))) writeJson(join(this.directory(id), 'state.json'), state)
  }

  /** Removes a container that does not run: its description first, so that a crash leaves only what is swept. */
  async remove(container: Container): Promise<void> {
    await this.lock(() => rmSync(join(container.directory, 'container.json'), { force: true }))
    rmSync(container.runDirectory, { recursive: true, force: true })
    const { removeTree } = await import('./remove-tree.js')
    removeTree(container.directory)
    const [{ pinNames }, { config, id }] = [await import('./create.js'), container]
    const pins = pinNames(id, config)
    if (pins.length === 0) return
    const [{ Store }, { unpin }] = await Promise.all([import('../image/store.js'), import('../image/pin.js')])
    for (const name of pins) unpin(Store.at(this.root), name)
  }

  /**
   * Compares the state with the truth. A container whose supervisor is gone is ended: processes killed, cgroups and
   * network removed, state `exited` with 137; removed when it was to be (--rm). Undefined: it is gone now.
   */
  async reconcile(container: Container): Promise<Container | undefined> {
    const needsNothing = ({ state }: Container): boolean => state.status !== 'running' || isSupervised(state)
    if (needsNothing(container)) return container
    return this.alone(container.id, async now => {
      if (needsNothing(now)) return now
      const { sweep } = await import('./sweep.js')
      await sweep(this, now)
      return this.load(now.id)
    })
  }
}

/** Whether the process that the state names as its supervisor is there. */
export function isSupervised({ boot, supervisor, supervisorStart }: ContainerState): boolean {
  return boot === bootId() && isAlive(supervisor, supervisorStart)
}

let boot: string | undefined

/** This boot's id (proc(5)). */
export function bootId(): string {
  return (boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim())
}

/** Whether the process `pid` that started at `start` still is. */
export function isAlive(pid: number, start: string): boolean {
  if (pid <= 0) return false
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
    return startTime(stat) === start && state !== 'Z' && state !== 'X'
  } catch {
    return false
  }
}

/** Start time of a process, '' when it is gone. */
export function startOf(pid: number): string {
  try {
    return startTime(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? ''
  } catch {
    return ''
  }
}

/** This process's own start time. */
export function ownStart(): string {
  return startOf(process.pid)
}
