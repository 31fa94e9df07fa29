/**
 * Owns the thread behind MountServer (server.ts): opens the layers, waits for the fd of the mount, serves it to its end.
 * Conversation: `opened` or `failed`; then it is sent `{fd}` or `close`; `ready` when the mount answers; exit at the end.
 */
import { once } from 'node:events'
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import type { Wake } from '../fuse/wake.js'
import { optimizeLater } from '../resident.js'
import { connect } from './connect.js'
import { failureOf, type FailureData } from './failure.js'
import type { MountSpec } from './spec.js'
import { openStack } from './stack.js'

export interface ServeWorkerData {
  readonly spec: MountSpec
  readonly counters: Float64Array
  readonly wake: Wake
}
export type ToServeWorker = { readonly fd: number } | 'close'
export type FromServeWorker =
  | { readonly kind: 'opened' }
  | { readonly kind: 'failed'; readonly failure: FailureData }
  | { readonly kind: 'ready'; readonly passthrough: boolean }
  | { readonly kind: 'log'; readonly line: string }

const port = parentPort
if (port === null) throw new Error('serve-worker is a worker thread')
const { spec, counters, wake } = workerData as ServeWorkerData
const say = (message: FromServeWorker): void => port.postMessage(message)

/** A function, because the bundle of a worker has no top-level await. */
async function main(port: MessagePort): Promise<void> {
  try {
    const stack = await openStack(spec)
    say({ kind: 'opened' })
    const [order] = (await once(port, 'message')) as [ToServeWorker]
    if (order === 'close') stack.filesystem.destroy()
    else {
      const session = connect({
        spec,
        stack,
        fd: order.fd,
        tree: true,
        counters,
        wake,
        log: line => say({ kind: 'log', line }),
        onReady: () => {
          say({ kind: 'ready', passthrough: session.passthrough })
          optimizeLater()
        },
      })
      while (session.run() !== 'ended') await new Promise(resolve => setImmediate(resolve))
      await session.close()
    }
  } catch (error) {
    say({ kind: 'failed', failure: failureOf(error) })
  }
  port.close()
}

void main(port)
