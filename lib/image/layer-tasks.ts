/**
 * Owns importing several layers at once: each in a worker thread when there is more than one worth it, else here.
 * A worker's input is a region of a file, which it reads itself, or a stream, whose chunks are sent to it with a window.
 * Invariant: either all layers are in the store afterwards, or the first failure is thrown and no worker is left.
 */
import { mkdirSync, readSync, openSync, closeSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { IngestLimits } from '../layer/tar-ingest.js'
import { TarError, type TarErrorCode } from '../layer/tar-error.js'
import { FsError } from '../errno.js'
import { ImageError, type ImageErrorCode } from './error.js'
import { type ImportedLayer, importLayer, type LayerExpectation } from './import-layer.js'
import type { Session, Store } from './store.js'

export type LayerSource =
  | { readonly kind: 'file'; readonly path: string; readonly offset: number; readonly size: number }
  | { readonly kind: 'stream'; readonly open: () => AsyncIterable<Buffer>; readonly size: number }

export interface LayerTask {
  readonly source: LayerSource
  readonly expect: LayerExpectation
  readonly keepBlob?: boolean
}

/** `bytes` of task `index` have been read so far. */
export type LayerProgress = (index: number, bytes: number) => void

/** Below this a worker's start (30 ms, 10 MB) costs more than it brings. */
const WORTH_A_WORKER = 4 * 1024 * 1024
const READ_SIZE = 256 * 1024

/** Imports all tasks, in parallel where it pays. Results in the tasks' order. Throws as importLayer. */
export async function importLayers(
  store: Store,
  session: Session,
  tasks: readonly LayerTask[],
  options: { readonly limits?: IngestLimits | undefined; readonly progress?: LayerProgress | undefined } = {},
): Promise<ImportedLayer[]> {
  const results: ImportedLayer[] = []
  const large = tasks.filter(t => t.source.size > WORTH_A_WORKER).length
  const lanes = large > 1 ? Math.min(large, Math.max(2, availableParallelism())) : 1
  // Largest first, so that no long one is left alone at the end.
  const order = tasks.map((_, i) => i).sort((a, b) => (tasks[b]?.source.size ?? 0) - (tasks[a]?.source.size ?? 0))
  const abort = new AbortController()
  let failure: unknown
  const lane = async (): Promise<void> => {
    for (let i = order.shift(); i !== undefined && failure === undefined; i = order.shift()) {
      const task = tasks[i] as LayerTask
      const directory = join(session.path, `layer-${i}`)
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const progress = options.progress && ((bytes: number): void => options.progress?.(i, bytes))
      try {
        results[i] =
          lanes > 1 && task.source.size > WORTH_A_WORKER
            ? await inWorker(store, directory, task, options.limits, progress, abort.signal)
            : await importLayer(store, directory, chunksOf(task.source), task.expect, {
                ...(options.limits ? { limits: options.limits } : {}),
                ...(task.keepBlob === undefined ? {} : { keepBlob: task.keepBlob }),
                ...(progress ? { progress } : {}),
              })
      } catch (error) {
        failure ??= error
        abort.abort()
      }
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  if (failure !== undefined) throw failure as Error
  return results
}

/** The bytes of a source, in pieces of their own. */
export async function* chunksOf(source: LayerSource): AsyncGenerator<Buffer> {
  if (source.kind === 'stream') {
    yield* source.open()
    return
  }
  const fd = openSync(source.path, 'r')
  try {
    for (let at = 0; at < source.size;) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, source.size - at))
      const n = readSync(fd, buffer, 0, buffer.length, source.offset + at)
      if (n === 0) throw new ImageError('BLOB_CORRUPT', `read ${source.path}: it ends early`)
      yield n === buffer.length ? buffer : buffer.subarray(0, n)
      at += n
    }
  } finally {
    closeSync(fd)
  }
}

/** What the worker is started with, and what goes back and forth. */
export interface WorkerStart {
  readonly root: string
  readonly directory: string
  readonly expect: LayerExpectation
  readonly keepBlob: boolean
  readonly limits: IngestLimits | undefined
  readonly file: { readonly path: string; readonly offset: number; readonly size: number } | undefined
}
export type ToWorker = { readonly chunk: Uint8Array } | { readonly end: true }
export type FromWorker =
  | { readonly taken: number }
  | { readonly progress: number }
  | { readonly done: ImportedLayer }
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

async function inWorker(
  store: Store,
  directory: string,
  task: LayerTask,
  limits: IngestLimits | undefined,
  progress: ((bytes: number) => void) | undefined,
  signal: AbortSignal,
): Promise<ImportedLayer> {
  const { source } = task
  const start: WorkerStart = {
    root: store.root,
    directory,
    expect: task.expect,
    keepBlob: task.keepBlob ?? true,
    limits,
    file: source.kind === 'file' ? { path: source.path, offset: source.offset, size: source.size } : undefined,
  }
  const worker = new Worker(new URL('./layer-worker.cjs', import.meta.url), { workerData: start })
  let sent = 0
  let taken = 0
  let wake = (): void => {}
  let over = false
  try {
    return await new Promise<ImportedLayer>((resolve, reject) => {
      const stop = (error: unknown): void => {
        over = true
        wake()
        reject(error as Error)
      }
      signal.addEventListener(
        'abort',
        () => stop(new ImageError('NO_PROGRESS', 'import layer: another layer failed')),
        {
          once: true,
        },
      )
      worker.on('message', (message: FromWorker) => {
        if ('taken' in message) {
          taken += message.taken
          wake()
        } else if ('progress' in message) progress?.(message.progress)
        else if ('done' in message) {
          over = true
          wake()
          resolve(message.done)
        } else stop(revive(message.failed))
      })
      worker.on('error', stop)
      worker.on('exit', code => stop(new Error(`layer worker ended with code ${code}`)))
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
        feed().catch(stop)
      }
    })
  } finally {
    worker.removeAllListeners('exit')
    await worker.terminate()
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
