/**
 * Owns what one build shares between its stages: options, store, cache, executor, and the promises of bases and stages.
 * Invariant: a base image is asked for once per build, a stage is built once, and one key is never worked on twice at
 * the same time.
 */
import type { DiffID } from '../digest.js'
import { BuildCache, type CacheRecord } from './cache.js'
import { BuildError } from './error.js'
import { Teller, type BuildEvent } from './event.js'
import type { Executor } from './executor.js'
import type { Ignore } from './ignore.js'
import { EmptyTree, LayersTree } from './layer-tree.js'
import type { Plan } from './plan.js'
import type { BuildArgs } from './scope.js'
import type { BaseImage, BuildStore, ContainerConfig, HistoryEntry, Platform } from './store.js'
import type { Tree } from './tree.js'

export interface BuildContext {
  readonly tree: Tree
  readonly ignore: Ignore
}

export interface BuildOptions {
  readonly buildArgs: BuildArgs
  readonly platform: Platform
  readonly noCache: boolean
  readonly pull: boolean
  /** Secrets by id: read when a RUN asks. */
  readonly secrets: ReadonlyMap<string, () => Uint8Array>
  /** Agent sockets by id. */
  readonly ssh: ReadonlyMap<string, string>
  readonly labels: ReadonlyMap<string, string>
  /** `--network`: what RUN gets without a flag of its own. */
  readonly network: 'default' | 'none' | 'host'
  readonly addHosts: readonly string[]
  readonly shmSize: number | undefined
  /** `--allow`: what a Dockerfile may ask for. */
  readonly allow: ReadonlySet<string>
  /** SOURCE_DATE_EPOCH in seconds. */
  readonly epoch: number | undefined
  readonly explain: boolean
  /** Keep the state after a failed RUN too. */
  readonly debug: boolean
  readonly signal: AbortSignal
}

/** A stage's filesystem and configuration at some point. */
export interface StageState {
  readonly layers: readonly DiffID[]
  readonly config: ContainerConfig
  readonly history: readonly HistoryEntry[]
  readonly author: string | undefined
  /** When its last layer was made. */
  readonly created: string
  readonly platform: Platform
  readonly steps: readonly StepRecord[]
}

/** What `history` and `rollback` know of a step beyond the OCI history: see steps.ts. */
export interface StepRecord {
  readonly createdBy: string
  readonly line: number | undefined
  readonly layers: number
  readonly size: number
  readonly created: string
  readonly config: ContainerConfig
}

export class Session {
  readonly plan: Plan
  readonly options: BuildOptions
  readonly store: BuildStore
  readonly executor: Executor
  readonly context: BuildContext
  readonly cache: BuildCache
  readonly teller: Teller
  /** At most one command per core. */
  readonly runs = new Slots(Math.max(1, Number(process.env['LAMINA_BUILD_JOBS'] ?? 0) || 2))
  readonly #bases = new Map<string, Promise<BaseImage>>()
  readonly #working = new Map<string, Promise<CacheRecord>>()
  stageOf: (index: number) => Promise<StageState> = () => Promise.reject(new Error('no stages yet'))

  constructor(parts: {
    plan: Plan
    options: BuildOptions
    store: BuildStore
    executor: Executor
    context: BuildContext
    listener: (event: BuildEvent) => void
  }) {
    this.plan = parts.plan
    this.options = parts.options
    this.store = parts.store
    this.executor = parts.executor
    this.context = parts.context
    this.cache = new BuildCache(parts.store.state, diffID => parts.store.hasLayer(diffID))
    this.teller = new Teller(parts.listener)
  }

  base(reference: string, platform: Platform): Promise<BaseImage> {
    const key = JSON.stringify([reference, platform])
    let base = this.#bases.get(key)
    if (!base) this.#bases.set(key, (base = this.store.base(reference, platform, this.options.pull)))
    return base
  }

  /** The tree of a stack of layers, base first. The caller closes it. */
  tree(layers: readonly DiffID[]): Tree {
    return layers.length === 0 ? new EmptyTree() : new LayersTree(this.store.openLayers(layers).toReversed())
  }

  /** Runs `make` unless another stage is at the same key: then its result is this one's too. */
  async once(key: string, make: () => Promise<CacheRecord>): Promise<CacheRecord> {
    const working = this.#working.get(key)
    if (working) return working
    const promise = make()
    this.#working.set(key, promise)
    try {
      return await promise
    } finally {
      this.#working.delete(key)
    }
  }

  check(): void {
    if (this.options.signal.aborted) throw new BuildError('CANCELLED', 'the build was interrupted')
  }

  now(): string {
    return isoTime(this.options.epoch ?? Date.now() / 1000)
  }
}

export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}

/** A counting semaphore. */
export class Slots {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(count: number) {
    this.#free = count
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }
}
