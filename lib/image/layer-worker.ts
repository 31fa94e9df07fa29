/**
 * Owns the worker thread that imports one layer: reads its file region or takes chunks from the main thread, and answers
 * with the result or the failure. Started by layer-tasks.ts only.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { importLayer } from './import-layer.js'
import { chunksOf, type FromWorker, type PlainError, type ToWorker, type WorkerStart } from './layer-tasks.js'
import { Store } from './store.js'

const start = workerData as WorkerStart
const port = parentPort
if (port === null) throw new Error('layer-worker.js is started as a worker thread only')
const send = (message: FromWorker): void => port.postMessage(message)

async function* fromMain(): AsyncGenerator<Buffer> {
  const queue: ToWorker[] = []
  let wake = (): void => {}
  port?.on('message', (message: ToWorker) => {
    queue.push(message)
    wake()
  })
  for (;;) {
    const message = queue.shift()
    if (message === undefined) {
      await new Promise<void>(resolve => (wake = resolve))
      continue
    }
    if ('end' in message) break
    const { chunk } = message
    yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    send({ taken: chunk.length })
  }
  port?.close()
}

function plain(error: unknown): PlainError {
  const e = (error instanceof Error ? error : new Error(String(error))) as NodeJS.ErrnoException & {
    entry?: string
    context?: Record<string, unknown>
  }
  return {
    name: e.name,
    message: e.message,
    stack: e.stack,
    code: typeof e.code === 'string' ? e.code : undefined,
    errno: e.errno,
    syscall: e.syscall,
    path: e.path,
    entry: e.entry,
    context: e.context,
  }
}

/** A function, because the bundle of a worker has no top-level await. */
async function main(): Promise<void> {
  try {
    const source = start.file === undefined ? fromMain() : chunksOf({ kind: 'file', ...start.file })
    const done = await importLayer(Store.at(start.root), start.directory, source, start.expect, {
      ...(start.limits ? { limits: start.limits } : {}),
      keepBlob: start.keepBlob,
      progress: bytes => send({ progress: bytes }),
    })
    send({ done })
  } catch (error) {
    send({ failed: plain(error) })
  }
}

void main()
