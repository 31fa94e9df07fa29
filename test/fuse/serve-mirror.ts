/** A thread that serves the mirror filesystem on the fd it is given: started by mounted.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { Session, type SessionOptions } from '../../lib/fuse/session.js'
import { Mirror, type MirrorOptions } from './mirror.js'

export interface ServeMirror extends Pick<SessionOptions, 'fd' | 'wishes' | 'volatile' | 'counters' | 'wake'> {
  readonly mirror: MirrorOptions
}

const data = workerData as ServeMirror
const lines: string[] = []
const filesystem = new Mirror(data.mirror)
const session = new Session({ ...data, filesystem, log: line => lines.push(line) })

const asked: unknown[] = []
parentPort?.on('message', message => asked.push(message))
for (;;) {
  const outcome = session.run()
  await new Promise(resolve => setImmediate(resolve))
  if (asked.length > 0 || outcome === 'ended') {
    asked.length = 0
    const { agreed, passthrough } = session
    parentPort?.postMessage({ outcome, lines, agreed, passthrough, lookups: [...filesystem.lookups.values()] })
  }
  if (outcome === 'ended') break
}
await session.close()
parentPort?.close()
