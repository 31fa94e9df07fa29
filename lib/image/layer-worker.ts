/**
 * Owns the worker thread that stages layers, one at a time: reads a file region or takes chunks from the main thread, and
 * answers with the result or the failure. Started by layer-lane.ts only.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { stageLayer } from './import-layer.js'
import type { FromWorker, PlainError, ToWorker, WorkerStart, WorkerTask } from './layer-lane.js'
import { chunksOf } from './layer-source.js'
import { Store } from './store.js'

const { root } = workerData as WorkerStart
const port = parentPort
if (port === null) throw new Error('layer-worker.js is started as a worker thread only')
const send = (message: FromWorker): void => port.postMessage(message)

/** Chunks that have come and were not taken yet. */
const queue: Exclude<ToWorker, { task: WorkerTask }>[] = []
let wake = (): void => {}

port.on('message', (message: ToWorker) => {
  if ('task' in message) void run(message.task)
  else {
    queue.push(message)
    wake()
  }
})

async function* fromMain(): AsyncGenerator<Buffer> {
  for (;;) {
    const message = queue.shift()
    if (message === undefined) {
      await new Promise<void>(resolve => (wake = resolve))
      continue
    }
    if ('end' in message) return
    const { chunk } = message
    yield Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    send({ taken: chunk.length })
  }
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

async function run({ directory, expect, keepBlob, limits, file }: WorkerTask): Promise<void> {
  try {
    const source = file === undefined ? fromMain() : chunksOf({ kind: 'file', ...file })
    const done = await stageLayer(Store.at(root), directory, source, expect, {
      ...(limits ? { limits } : {}),
      keepBlob,
      progress: bytes => send({ progress: bytes }),
    })
    send({ done })
  } catch (error) {
    send({ failed: plain(error) })
  }
}
