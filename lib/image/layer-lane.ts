/**
 * Owns a worker thread that stages one layer after another (layer-worker.ts), and what goes between it and this thread: a
 * region of a file the worker reads itself, the chunks of a stream are sent to it with a window.
 */
import { Worker } from 'node:worker_threads'
import { FsError } from '../errno.js'
import { TarError, type TarErrorCode } from '../layer/tar-error.js'
import type { IngestLimits } from '../layer/tar-ingest.js'
import { ImageError, type ImageErrorCode } from './error.js'
import type { LayerExpectation } from './import-layer.js'
import type { LayerSource } from './layer-source.js'
import type { StagedLayer } from './publish.js'

/** One layer's work, as the worker gets it. Without `file` its bytes come as chunks. */
export interface WorkerTask {
  readonly directory: string
  readonly expect: LayerExpectation
  readonly keepBlob: boolean
  readonly limits: IngestLimits | undefined
  readonly file: { readonly path: string; readonly offset: number; readonly size: number } | undefined
}
/** What the worker is started with. */
export interface WorkerStart {
  readonly root: string
}
export type ToWorker = { readonly task: WorkerTask } | { readonly chunk: Uint8Array } | { readonly end: true }
export type FromWorker =
  | { readonly taken: number }
  | { readonly progress: number }
  | { readonly done: StagedLayer }
  | { readonly failed: PlainError }

/** An error as it crosses threads: structured clone would lose its class and code. */
export interface PlainError {
  readonly name: string
  readonly message: string
  readonly stack: string | undefined
  readonly code: string | undefined
  readonly errno: number | undefined
  readonly syscall: string | undefined
  readonly path: string | undefined
  readonly entry: string | undefined
  readonly context: Readonly<Record<string, unknown>> | undefined
}

/** Bytes that may be on their way to a worker. */
const WINDOW = 4 * 1024 * 1024

export class LayerLane {
  readonly #worker: Worker

  constructor(root: string) {
    const workerData: WorkerStart = { root }
    this.#worker = new Worker(new URL('./layer-worker.cjs', import.meta.url), { workerData })
  }

  /** Stages one layer; not before the last one is done. After a failure or `signal` the lane can only be ended. Throws as stageLayer. */
  async stage(
    directory: string,
    task: { readonly source: LayerSource; readonly expect: LayerExpectation; readonly keepBlob?: boolean },
    limits: IngestLimits | undefined,
    progress: ((bytes: number) => void) | undefined,
    signal: AbortSignal,
  ): Promise<StagedLayer> {
    const worker = this.#worker
    const { source, expect, keepBlob = true } = task
    const file = source.kind === 'file' ? { path: source.path, offset: source.offset, size: source.size } : undefined
    let sent = 0
    let taken = 0
    let wake = (): void => {}
    let over = false
    let aborted = (): void => {}
    try {
      return await new Promise<StagedLayer>((resolve, reject) => {
        aborted = () => reject(new ImageError('NO_PROGRESS', 'import layer: another layer failed'))
        signal.addEventListener('abort', aborted)
        worker.on('message', (message: FromWorker) => {
          if ('taken' in message) {
            taken += message.taken
            wake()
          } else if ('progress' in message) progress?.(message.progress)
          else if ('done' in message) resolve(message.done)
          else reject(revive(message.failed))
        })
        worker.on('error', reject)
        worker.on('exit', code => reject(new Error(`layer worker ended with code ${code}`)))
        worker.postMessage({ task: { directory, expect, keepBlob, limits, file } } satisfies ToWorker)
        if (source.kind === 'stream') {
          const feed = async (): Promise<void> => {
            for await (const chunk of source.open()) {
              while (sent - taken > WINDOW && !over) await new Promise<void>(r => (wake = r))
              if (over) return
              sent += chunk.length
              worker.postMessage({ chunk } satisfies ToWorker)
            }
            worker.postMessage({ end: true } satisfies ToWorker)
          }
          feed().catch(reject)
        }
      })
    } finally {
      over = true
      wake()
      signal.removeEventListener('abort', aborted)
      for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event)
    }
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }
}

function revive(plain: PlainError): Error {
  let error: Error
  if (plain.name === 'ImageError') error = new ImageError(plain.code as ImageErrorCode, plain.message, plain.context)
  else if (plain.name === 'FsError') error = new FsError(plain.errno ?? 0, plain.syscall ?? '', plain.path)
  else if (plain.name === 'TarError') {
    error = new TarError(plain.code as TarErrorCode, '', plain.entry)
    error.message = plain.message
  } else error = Object.assign(new Error(plain.message), plain.code === undefined ? {} : { code: plain.code })
  if (plain.stack !== undefined) error.stack = plain.stack
  return error
}
