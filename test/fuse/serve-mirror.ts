/** A thread that serves the mirror filesystem on the fd it is given: started by mounted.ts. */
import { parentPort, workerData } from 'node:worker_threads'
import { Op } from '../../lib/fuse/protocol.js'
import { Request } from '../../lib/fuse/request.js'
import { Session, type SessionOptions } from '../../lib/fuse/session.js'
import { Mirror, type MirrorOptions } from './mirror.js'

export interface ServeMirror extends Pick<SessionOptions, 'fd' | 'wishes' | 'volatile' | 'counters' | 'wake'> {
  readonly mirror: MirrorOptions
  /** INIT arrives as Linux 5.4 sends it: protocol 7.31, what that offers, and no second word of flags. */
  readonly linux54: boolean
}

/** What Linux 5.4 offers in INIT: all up to FUSE_NO_OPENDIR_SUPPORT and FUSE_EXPLICIT_INVAL_DATA (linux/fuse.h, 7.31). */
const OFFERED_BY_5_4 = 0x03fffffb

const data = workerData as ServeMirror
if (data.linux54) {
  const accept = Request.prototype.accept
  Request.prototype.accept = function (length) {
    if (this.buffer.readUInt32LE(4) !== Op.INIT) return accept.call(this, length)
    this.buffer.writeUInt32LE(56, 0)
    this.buffer.writeUInt32LE(31, 44)
    this.buffer.writeUInt32LE((this.buffer.readUInt32LE(52) & OFFERED_BY_5_4) >>> 0, 52)
    return accept.call(this, 56)
  }
}
const lines: string[] = []
const filesystem = new Mirror(data.mirror)
const session = new Session({ ...data, filesystem, log: line => lines.push(line) })

const asked: unknown[] = []
parentPort?.on('message', message => asked.push(message))
for (;;) {
  const outcome = session.run()
  // Twice: what runs while the loop polls, as this may do first (Node 22 and later), has its first turn without another poll.
  for (let turn = 0; turn < 2; turn++) await new Promise(resolve => setImmediate(resolve))
  if (asked.length > 0 || outcome === 'ended') {
    asked.length = 0
    const { agreed, passthrough } = session
    parentPort?.postMessage({ outcome, lines, agreed, passthrough, lookups: [...filesystem.lookups.values()] })
  }
  if (outcome === 'ended') break
}
await session.close()
parentPort?.close()
