/**
 * Owns one container's cgroup in every hierarchy: make, enter, limit, measure, freeze, kill, remove.
 * Formats: limits are those of an OCI spec's `resources`; v1 and v2 have different files for each (limits.ts).
 * Invariant: a limit is written or refused by name, never dropped silently; `remove` is idempotent.
 */
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { O } from '../../sys/constants.js'
import { RuntimeError } from '../error.js'
import type { OciResources } from '../oci.js'
import { hierarchies, withController, type Hierarchy } from './hierarchy.js'
import { limitFiles, type LimitFile } from './limits.js'

export class Cgroup {
  /** `/lamina/<id>`: the same below every hierarchy. */
  readonly path: string
  readonly hierarchies: readonly Hierarchy[]

  /** An empty path: no cgroup at all (an ordinary user without a delegated one). */
  constructor(path: string, all: readonly Hierarchy[] = path === '' ? [] : hierarchies()) {
    this.path = path
    this.hierarchies = all
  }

  /** A cgroup that was made before: in the hierarchies where it is. */
  static at(path: string): Cgroup {
    return new Cgroup(path, path === '' ? [] : hierarchies().filter(h => existsSync(join(h.mountpoint, path))))
  }

  directory(h: Hierarchy): string {
    return join(h.mountpoint, this.path)
  }

  /** Directory of the hierarchy with `controller`; undefined when the machine has none. */
  of(controller: string): string | undefined {
    const h = withController(this.hierarchies, controller)
    return h === undefined ? undefined : this.directory(h)
  }

  get v2(): string | undefined {
    const h = this.hierarchies.find(({ version }) => version === 2)
    return h === undefined ? undefined : this.directory(h)
  }

  /** Makes the cgroup everywhere. Throws NOT_PERMITTED where this user may not. */
  create(): void {
    for (const h of this.hierarchies) {
      // The last container of another command may take the parent away meanwhile: then it is made again.
      for (let tries = 0; !this.#createIn(h); tries++)
        if (tries > 20)
          throw new RuntimeError('NOT_PERMITTED', `cgroup ${this.directory(h)}: its parent keeps vanishing`)
    }
  }

  #createIn(h: Hierarchy): boolean {
    let at = h.mountpoint
    for (const part of this.path.split('/').filter(Boolean)) {
      if (h.version === 2) enableControllers(at, h.controllers)
      at = join(at, part)
      const cpuset = h.controllers.includes('cpuset') && h.version === 1
      try {
        // Who made it a moment ago may not have come to fill it: a child of it would inherit nothing.
        if (makeDirectory(at) ? cpuset : cpuset && isEmptyCpuset(at)) inheritCpuset(at)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ENOENT' && at !== h.mountpoint) return false
        throw new RuntimeError('NOT_PERMITTED', `cgroup ${at}: ${code ?? String(error)}`)
      }
    }
    return true
  }

  /**
   * Writes limits, at the start or live. Throws UNSUPPORTED naming a limit that this kernel has no file for, or gives
   * `ignore` its option and the reason; INVALID for one that the kernel refuses.
   */
  limit(resources: OciResources, ignore?: (option: string, why: string) => void): void {
    const again: LimitFile[] = []
    for (const limit of limitFiles(resources, this.hierarchies)) {
      const directory = this.of(limit.controller)
      const there = directory !== undefined && existsSync(join(directory, limit.file))
      if (!there && limit.implied) continue
      const lacks = directory === undefined ? this.#lacks(limit.controller) : `this kernel has no ${limit.file}`
      if (there) {
        // Memory alone cannot be raised above, nor both together be lowered below what the other still is.
        if (this.#write(limit) !== undefined) again.push(limit)
      } else if (ignore !== undefined) ignore(limit.option, lacks)
      else throw new RuntimeError('UNSUPPORTED', `${limit.option}: ${lacks}`)
    }
    for (const limit of again) {
      const code = this.#write(limit)
      if (code === undefined) continue
      const { option, value, file } = limit
      throw new RuntimeError('INVALID', `${option}: the kernel refuses ${value} for ${file} (${code})`)
    }
  }

  #lacks(controller: string): string {
    return this.path === ''
      ? `no ${controller} cgroup was delegated to this user`
      : `this machine has no ${controller} cgroup`
  }

  /** Undefined, or the errno's name. */
  #write({ controller, file, value }: LimitFile): string | undefined {
    try {
      writeFileSync(join(this.of(controller) ?? '', file), value)
      return undefined
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? String(error)
    }
  }

  /** fds of `tasks` in which a child enters itself (v1; of one thread, by itself, the kernel needs no global lock: 0.1 ms, not 10), and the directory fd to be born in (v2). The caller closes both. */
  openForBirth(): { procs: number[]; v2: number | undefined } {
    const procs = this.hierarchies
      .filter(h => h.version === 1)
      .map(h => openSync(join(this.directory(h), 'tasks'), 'w'))
    return { procs, v2: this.v2 === undefined ? undefined : openSync(this.v2, O.PATH | O.DIRECTORY | O.CLOEXEC) }
  }

  /** All processes in the cgroup and below it. */
  pids(): number[] {
    const directory = this.v2 ?? this.of('freezer') ?? this.of('pids')
    if (directory === undefined) return []
    const read = (at: string): number[] => {
      try {
        const own = readFileSync(join(at, 'cgroup.procs'), 'latin1').trim().split('\n').filter(Boolean).map(Number)
        const below = readdirSync(at, { withFileTypes: true }).filter(e => e.isDirectory())
        return [...own, ...below.flatMap(e => read(join(at, e.name)))]
      } catch {
        return []
      }
    }
    return read(directory)
  }

  /** What is written where to stop and continue every process. Throws UNSUPPORTED where there is no freezer. */
  freezer(): { readonly file: string; readonly stop: string; readonly go: string } {
    const v2 = this.v2
    if (v2 !== undefined && existsSync(join(v2, 'cgroup.freeze')))
      return { file: join(v2, 'cgroup.freeze'), stop: '1', go: '0' }
    const v1 = this.of('freezer')
    if (v1 === undefined) throw new RuntimeError('UNSUPPORTED', `pause: ${this.#lacks('freezer')}`)
    return { file: join(v1, 'freezer.state'), stop: 'FROZEN', go: 'THAWED' }
  }

  /** Stops or continues every process. Returns when the kernel says it is so. */
  async freeze(frozen: boolean): Promise<void> {
    const { file, stop, go } = this.freezer()
    const word = frozen ? stop : go
    writeFileSync(file, word)
    const isSo =
      word.length === 1
        ? () => readFileSync(join(dirname(file), 'cgroup.events'), 'latin1').includes(`frozen ${word}`)
        : () => readFileSync(file, 'latin1').trim() === word
    await until(isSo, `cgroup ${this.path}: freeze`)
  }

  /** SIGKILL to every process, at once where the kernel has cgroup.kill (5.14), else again until none is left. */
  kill(): void {
    const v2 = this.v2
    if (v2 !== undefined && existsSync(join(v2, 'cgroup.kill'))) {
      try {
        writeFileSync(join(v2, 'cgroup.kill'), '1')
        return
      } catch {
        // Gone meanwhile: then nothing is left to kill below either.
      }
    }
    for (const pid of this.pids())
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
  }

  /** Number of processes that the kernel killed for want of memory. */
  oomKills(): number {
    const memory = this.of('memory')
    if (memory === undefined) return 0
    for (const file of ['memory.events', 'memory.oom_control'])
      try {
        return Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(memory, file), 'latin1'))?.[1] ?? 0)
      } catch {
        // The other version's file.
      }
    return 0
  }

  /** Removes the cgroup and what is below it, and its parent if nobody else is there. Waits for dying processes up to ten seconds. */
  async remove(): Promise<void> {
    for (const h of this.hierarchies) {
      await removeTree(this.directory(h))
      try {
        rmdirSync(dirname(this.directory(h)))
      } catch {
        // Others are in it, or it is the root of the hierarchy.
      }
    }
  }
}

async function removeTree(directory: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      rmdirSync(directory)
      return
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return
      if (tries >= 1000) throw new RuntimeError('IN_USE', `cgroup ${directory}: still in use`)
      if (code === 'EBUSY' || code === 'ENOTEMPTY')
        for (const e of safeDirectories(directory)) await removeTree(join(directory, e))
    }
    if (tries > 0) await sleep(tries < 20 ? 1 : 10)
  }
}

function safeDirectories(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter(e => e.isDirectory())
      .map(e => e.name)
  } catch {
    return []
  }
}

/** False: it is there. */
function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function isEmptyCpuset(directory: string): boolean {
  return ['cpuset.cpus', 'cpuset.mems'].some(file => readFileSync(join(directory, file), 'latin1').trim() === '')
}

/** A new v1 cpuset has no CPUs and no memory nodes, and nothing can run in it: it gets its parent's. */
function inheritCpuset(directory: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    writeFileSync(join(directory, file), readFileSync(join(directory, '..', file)))
}

/** The v2 controllers that limits are written to. Others stay as they are: they are not Lamina's to switch on. */
const used = ['cpu', 'cpuset', 'io', 'memory', 'pids']

/** Lets the children of a v2 cgroup have the controllers; one that is refused shows as a missing file of the limit. */
function enableControllers(directory: string, controllers: readonly string[]): void {
  const file = join(directory, 'cgroup.subtree_control')
  for (const name of controllers.filter(c => used.includes(c)))
    try {
      writeFileSync(file, `+${name}`)
    } catch {
      // Busy with processes of its own (v2's rule), or not delegated.
    }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 3000) throw new RuntimeError('TIMEOUT', `${what}: not done after 30 s`)
    await sleep(tries < 10 ? 1 : 10)
  }
}
