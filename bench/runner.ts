/**
 * Owns one interleaved run of groups over peers: fresh stacks, mounts and their end, dropped caches, what peers must agree
 * on, requests counted. Everything measured goes to `record` at once, so that a run that is cut short has told what it saw.
 * Invariant: nothing is deleted before `close`. ext4 does not give an inode again for a minute or more after it was
 * deleted, and steps over each such inode in every create (`recently_deleted`, fs/ext4/ialloc.c): with a few thousand of
 * them in its block group a create takes ten times as long. So each stack has a block group of its own (EXT4_TOPDIR_FL on
 * the scratch directory spreads its children), and no group of rows creates where it has deleted.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { residentEnvironment } from '../lib/resident.js'
import type { Material } from './material.js'
import { processorTime, unmountKernel, type Mounted, type Peer, type Stack } from './peers.js'
import type { Sample } from './sample.js'
import type { Bench, ClientOptions, Group } from './row.js'
import { runClient, startClient } from './run-client.js'
import type { Outcome, WorkName } from './client.js'

export interface RunnerOptions {
  readonly scratch: string
  readonly space: Sample['space']
  readonly material: Material
  readonly peers: readonly Peer[]
  readonly repeat: number
  readonly seed: number
  readonly wants: (row: string) => boolean
  readonly record: (sample: Sample) => void
  readonly note: (text: string) => void
  /** Drops the machine's caches; false where nobody may. */
  readonly dropCaches: () => Promise<boolean>
}

/** How many processes share the operations of a `placed` row. */
const PLACES = 4
/** Servers' counters that are no requests. */
const NO_REQUESTS = new Set(['errors', 'sleeps', 'spins', 'parked'])

export class Runner {
  readonly #options: RunnerOptions
  readonly #agreed = new Map<string, string>()
  readonly #mounts = new Set<Mounted>()
  #stacks = 0
  /** Measurements that failed: a peer could not do the work, or found something else than the others. */
  failures = 0

  constructor(options: RunnerOptions) {
    this.#options = options
  }

  /** Before anything is measured: every peer shows the same tree. */
  async checkCorrectness(lowers: Group['lowers']): Promise<void> {
    let first: { peer: string; check: string } | undefined
    for (const peer of this.#options.peers) {
      const stack = this.newStack(lowers)
      const mounted = await this.mount(peer, stack)
      const { check } = await runClient('digest', { path: stack.point })
      await this.unmount(mounted)
      first ??= { peer: peer.name, check }
      if (check !== first.check)
        throw new Error(`${lowers}: ${peer.name} shows ${check}, ${first.peer} shows ${first.check}`)
    }
    this.#options.note(`${this.#options.space}, ${lowers}: all show ${first?.check}`)
  }

  async measure(group: Group): Promise<void> {
    const { peers, repeat, seed, wants, record, space } = this.#options
    const able = peers.filter(peer => !(group.without ?? []).includes(peer.name))
    for (let repetition = 0; repetition < repeat; repetition++) {
      // Another order each time, the same for the same seed.
      const order = able.toSorted((a, b) => rank(a.name, seed + repetition) - rank(b.name, seed + repetition))
      for (const peer of order) {
        const one = new Measurement(this, this.#options, group, peer)
        let values: Readonly<Record<string, number>>
        try {
          await one.begin()
          values = await group.run(one)
        } catch (error) {
          // One that fails must not take hours of others' measurements with it.
          this.#failed(`${space}, ${group.name}, ${peer.name}`, error)
          continue
        } finally {
          await one.end()
        }
        for (const row of group.rows) {
          const value = values[row.id]
          if (value === undefined || !wants(row.id)) continue
          const { id, unit } = row
          const counted = one.counted.get(id)
          record({ space, group: group.name, row: id, peer: peer.name, repetition, value, unit, ...counted })
        }
      }
    }
  }

  #failed(what: string, error: unknown): void {
    this.failures++
    this.#options.note(`${what}: FAILED: ${textOf(error)}`)
  }

  /** Unmounts what a failure has left. */
  async close(): Promise<void> {
    for (const mounted of [...this.#mounts].toReversed())
      await mounted.unmount().catch((error: unknown) => {
        this.#options.note(String(error))
      })
  }

  newStack(lowers: Group['lowers']): Stack {
    const { scratch, material, space } = this.#options
    const base = join(scratch, `${space}-stack${this.#stacks++}`)
    const [upper, work, point] = ['upper', 'work', 'point'].map(name => join(base, name)) as [string, string, string]
    for (const path of [upper, work, point]) mkdirSync(path, { recursive: true })
    const image = async (): ReturnType<Stack['image']> => ({
      ...(await material.image(lowers)),
      store: material.storeRoot,
    })
    return { lowers: material.lowers(lowers), image, upper, work, point }
  }

  async mount(peer: Peer, stack: Stack): Promise<Mounted> {
    const mounted = await peer.mount(stack)
    this.#mounts.add(mounted)
    return mounted
  }

  async unmount(mounted: Mounted): Promise<void> {
    await mounted.unmount()
    this.#mounts.delete(mounted)
  }

  agree(key: string, peer: string, check: string): void {
    const known = this.#agreed.get(key)
    if (known === undefined) this.#agreed.set(key, check)
    else if (known !== check) throw new Error(`${key}: ${peer} found ${check}, others ${known}`)
  }
}

/** One group, one peer, one repetition. */
class Measurement implements Bench {
  readonly peer: Peer
  readonly material: Material
  readonly counted = new Map<string, Pick<Sample, 'requests' | 'serverMicros'>>()
  mountSeconds = 0
  readonly #runner: Runner
  readonly #options: RunnerOptions
  readonly #group: Group
  readonly #stacks: Stack[] = []
  #own: Mounted[] = []

  constructor(runner: Runner, options: RunnerOptions, group: Group, peer: Peer) {
    this.#runner = runner
    this.#options = options
    this.#group = group
    this.peer = peer
    this.material = options.material
  }

  get point(): string {
    return (this.#stacks[0] as Stack).point
  }

  get mounted(): Mounted {
    return this.#own[0] as Mounted
  }

  async begin(): Promise<void> {
    const stack = this.#runner.newStack(this.#group.lowers)
    // What is made once is not part of the mount.
    await stack.image()
    const start = process.hrtime.bigint()
    await this.#add(stack)
    this.mountSeconds = Number(process.hrtime.bigint() - start) / 1e9
  }

  async end(): Promise<void> {
    for (const mounted of this.#own.splice(0).toReversed()) await this.#runner.unmount(mounted)
  }

  wants(...rows: readonly string[]): boolean {
    return rows.some(row => this.#options.wants(row))
  }

  async another(): Promise<Mounted & { readonly point: string }> {
    const stack = this.#runner.newStack(this.#group.lowers)
    return { ...(await this.#add(stack)), point: stack.point }
  }

  async #add(stack: Stack): Promise<Mounted> {
    const mounted = await this.#runner.mount(this.peer, stack)
    this.#stacks.push(stack)
    this.#own.push(mounted)
    return mounted
  }

  async command(): Promise<number | undefined> {
    const stack = this.#runner.newStack(this.#group.lowers)
    const words = await this.peer.command?.(stack)
    if (words === undefined) return undefined
    const seconds = await this.timed(words)
    await unmountKernel(stack.point)
    return seconds
  }

  async timed(words: readonly string[]): Promise<number> {
    const start = process.hrtime.bigint()
    const child = spawn(words[0] ?? '', words.slice(1), {
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: '/',
      env: residentEnvironment(),
    })
    let said = ''
    child.stderr.on('data', (data: Buffer) => (said += data.toString()))
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw new Error(`${words.join(' ')}: ${said.trim()}`)
    return Number(process.hrtime.bigint() - start) / 1e9
  }

  async cold(what: 'all' | 'mount'): Promise<boolean> {
    if (this.peer.name !== 'plain') {
      await this.end()
      for (const stack of this.#stacks) this.#own.push(await this.#runner.mount(this.peer, stack))
    }
    if (what === 'mount') return true
    this.settle()
    return this.#options.dropCaches()
  }

  /**
   * Until the disk has all that was written: writing back in the background would be part of what comes next. The kernel
   * does not pass a sync of a FUSE mount on, so the disk below is named too.
   */
  settle(): void {
    execFileSync('sync', ['-f', this.point, this.#options.scratch])
  }

  warm(): void {
    const path = join(this.#options.scratch, 'warm')
    const block = Buffer.alloc(1 << 20, 1)
    const fd = openSync(path, 'w')
    for (let i = 0; i < 2 * this.material.sizes.bigMiB; i++) writeSync(fd, block)
    closeSync(fd)
    rmSync(path)
  }

  agree(row: string, check: string): void {
    this.#runner.agree(`${this.#group.name} ${row}`, this.peer.name, check)
  }

  async during<T>(row: string, operations: number | ((result: T) => number), work: () => Promise<T> | T): Promise<T> {
    const before = this.#look()
    const result = await work()
    if (before !== undefined) {
      const count = typeof operations === 'number' ? operations : operations(result)
      const after = this.#look() as Looked
      const requests: Record<string, number> = {}
      for (const [name, total] of Object.entries(after.requests)) {
        const more = total - (before.requests[name] ?? 0)
        if (more > 0 && !NO_REQUESTS.has(name)) requests[name] = more / count
      }
      this.counted.set(row, { requests, serverMicros: (after.nanoseconds - before.nanoseconds) / 1000 / count })
    }
    return result
  }

  /** All servers of this measurement together; undefined where the kernel serves. */
  #look(): Looked | undefined {
    const requests: Record<string, number> = {}
    let nanoseconds = 0
    for (const { pid, requests: counters } of this.#own) {
      if (pid === undefined) return undefined
      nanoseconds += processorTime(pid)
      for (const [name, count] of Object.entries(counters() ?? {})) requests[name] = (requests[name] ?? 0) + count
    }
    return { requests, nanoseconds }
  }

  async measured(row: string, work: WorkName, options: Partial<ClientOptions> = {}): Promise<Outcome> {
    const client = await startClient(work, { path: this.point, ...options })
    return this.#checked(row, await this.during(row, outcome => outcome.count, client.go))
  }

  async placed(
    row: string,
    work: WorkName,
    options: Partial<ClientOptions> & { readonly count: number },
  ): Promise<Outcome> {
    const total = { seconds: 0, count: 0, bytes: 0, check: '' }
    const part = Math.ceil(options.count / PLACES)
    await this.during(row, options.count, async () => {
      for (let from = 0; from < options.count; from += part) {
        const count = Math.min(part, options.count - from)
        const outcome = await runClient(work, { path: this.point, ...options, from, count })
        total.seconds += outcome.seconds
        total.count += outcome.count
        total.bytes += outcome.bytes
        total.check += `${outcome.check};`
      }
    })
    return this.#checked(row, total)
  }

  async coldly(row: string, work: WorkName, options: Partial<ClientOptions> = {}): Promise<Outcome | undefined> {
    const client = await startClient(work, { path: this.point, ...options })
    if (!(await this.cold('all'))) {
      client.stop()
      return undefined
    }
    return this.#checked(row, await this.during(row, outcome => outcome.count, client.go))
  }

  #checked(row: string, outcome: Outcome): Outcome {
    this.agree(row, outcome.check)
    return outcome
  }
}

interface Looked {
  readonly requests: Record<string, number>
  readonly nanoseconds: number
}

function rank(name: string, seed: number): number {
  let h = Math.imul(seed, 7919)
  for (const c of name) h = (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0
  return Math.imul(h ^ (h >>> 13), 0x5bd1e995) >>> 0
}

/** An error in full. */
export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
