/**
 * Owns importing several layers at once: this thread and workers (layer-lane.ts) each take the next one when there is
 * more than one worth it, else this thread takes all.
 * Invariant: either all layers are in the store afterwards, or the first failure is thrown, those that were complete are
 * in the store, and no worker is left.
 */
import { mkdtempSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { IngestLimits } from '../layer/tar-ingest.js'
import { ImageError } from './error.js'
import { type LayerExpectation, stageLayer } from './import-layer.js'
import { LayerLane } from './layer-lane.js'
import { chunksOf, type LayerSource } from './layer-source.js'
import { publishLayers, type StagedLayer } from './publish.js'
import type { Session, Store } from './store.js'

export interface LayerTask {
  readonly source: LayerSource
  readonly expect: LayerExpectation
  readonly keepBlob?: boolean
}

/** `bytes` of task `index` have been read so far. */
export type LayerProgress = (index: number, bytes: number) => void

/** Below this a worker's start (30 ms, 10 MB) costs more than it brings. */
const WORTH_A_WORKER = 4 * 1024 * 1024

/** Imports all tasks, in parallel where it pays. Results in the tasks' order. Throws as importLayer. */
export async function importLayers(
  store: Store,
  session: Session,
  tasks: readonly LayerTask[],
  options: { readonly limits?: IngestLimits | undefined; readonly progress?: LayerProgress | undefined } = {},
): Promise<StagedLayer[]> {
  const results: StagedLayer[] = []
  const large = tasks.filter(isLarge).length
  const width = large > 1 ? Math.min(large, Math.max(2, availableParallelism())) : 1
  // Largest first, so that no long one is left alone at the end.
  const order = tasks.map((_, i) => i).sort((a, b) => (tasks[b]?.source.size ?? 0) - (tasks[a]?.source.size ?? 0))
  const publisher = new Publisher(store)
  const abort = new AbortController()
  let failure: unknown
  const lane = async (worker: LayerLane | undefined): Promise<void> => {
    for (let i = order.shift(); i !== undefined && failure === undefined; i = order.shift()) {
      const task = tasks[i] as LayerTask
      // A session imports several images, each with its own tasks.
      const directory = mkdtempSync(join(session.path, 'layer-'))
      const progress = options.progress && ((bytes: number): void => options.progress?.(i, bytes))
      try {
        if (worker !== undefined && isLarge(task))
          results[i] = await worker.stage(directory, task, options.limits, progress, abort.signal)
        else {
          const source = unless(abort.signal, chunksOf(task.source))
          results[i] = await stageLayer(store, directory, source, task.expect, {
            ...(options.limits ? { limits: options.limits } : {}),
            ...(task.keepBlob === undefined ? {} : { keepBlob: task.keepBlob }),
            ...(progress ? { progress } : {}),
          })
        }
        publisher.add(results[i] as StagedLayer)
      } catch (error) {
        failure ??= error
        abort.abort()
      }
    }
  }
  // This thread is one of the lanes where it has nothing to receive.
  const inline = width === 1 || tasks.every(task => task.source.kind === 'file') ? 1 : 0
  const workers = Array.from({ length: width - inline }, () => new LayerLane(store.root))
  try {
    await Promise.all([...workers.map(lane), ...(inline > 0 ? [lane(undefined)] : [])])
  } finally {
    await Promise.all(workers.map(worker => worker.end()))
  }
  try {
    await publisher.finish()
  } catch (error) {
    failure ??= error
  }
  if (failure !== undefined) throw failure as Error
  return results
}

function isLarge(task: LayerTask): boolean {
  return task.source.size > WORTH_A_WORKER
}

async function* unless(signal: AbortSignal, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    if (signal.aborted) throw new ImageError('NO_PROGRESS', 'import layer: another layer failed')
    yield chunk
  }
}

/**
 * Names layers as they become complete, those together that become so while the disk is waited for. The lanes go on
 * meanwhile; and whoever is interrupted does not have to fetch again what was complete.
 */
class Publisher {
  readonly #store: Store
  #waiting: StagedLayer[] = []
  #running: Promise<void> | undefined
  #failure: unknown

  constructor(store: Store) {
    this.#store = store
  }

  add(layer: StagedLayer): void {
    this.#waiting.push(layer)
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0) await publishLayers(this.#store, this.#waiting.splice(0))
    } catch (error) {
      this.#failure ??= error
    }
    this.#running = undefined
  }

  /** Waits until all have their names. Throws what naming has thrown. */
  async finish(): Promise<void> {
    await this.#running
    if (this.#failure !== undefined) throw this.#failure as Error
  }
}
