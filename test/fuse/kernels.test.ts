/** The session against kernels that we play: one end of a socket pair is the device, and each message one request. */
import { readSync, writeSync } from 'node:fs'
import t, { type Test } from 'tap'
import { E } from '../../lib/errno.js'
import { Op } from '../../lib/fuse/protocol.js'
import { Session } from '../../lib/fuse/session.js'
import { createWake, ring } from '../../lib/fuse/wake.js'
import { close, setNonblocking } from '../../lib/sys/file.js'
import { socketpair } from '../../lib/sys/socket.js'
import type { Filesystem, Host } from '../../lib/union/filesystem.js'

interface Reply {
  readonly error: number
  readonly payload: Buffer
}

interface Kernel {
  readonly log: string[]
  readonly calls: string[]
  readonly host: () => Host | undefined
  /** Queues a request. */
  send(opcode: number, body?: Buffer, options?: { length?: number; extensions?: number }): void
  /** Lets the session serve what is queued; replies by unique number. */
  serve(): Map<number, Reply>
}

const STOP = Op.STATFS

function kernel(t: Test): Kernel {
  const pair = socketpair(true)
  if (typeof pair === 'number') throw new Error(`socketpair: ${pair}`)
  const [ours, device] = pair
  for (const fd of pair) setNonblocking(fd)
  t.teardown(() => close(ours))
  const log: string[] = []
  const calls: string[] = []
  const wake = createWake()
  let host: Host | undefined
  const answers: Record<string, unknown> = {
    init: (given: Host) => (host = given),
    statfs: () => {
      ring(wake)
      return 0
    },
  }
  const filesystem = new Proxy({} as Filesystem, {
    get: (_, name) => answers[String(name)] ?? (() => (calls.push(String(name)), -E.ENOENT)),
  })
  const wishes = { passthrough: true, writeback: false, acl: true, noOpen: false, stackDepth: 1 } as const
  const session = new Session({ fd: device, filesystem, wishes, volatile: false, log: line => log.push(line), wake })
  t.teardown(() => session.close())
  let unique = 0
  return {
    log,
    calls,
    host: () => host,
    send(opcode, body = Buffer.alloc(0), { length, extensions = 0 } = {}) {
      const header = Buffer.alloc(40)
      header.writeUInt32LE(length ?? 40 + body.length, 0)
      header.writeUInt32LE(opcode, 4)
      header.writeUInt32LE(++unique, 8)
      header.writeUInt32LE(1, 16)
      header.writeUInt16LE(extensions, 36)
      writeSync(ours, Buffer.concat([header, body]))
    },
    serve() {
      this.send(STOP)
      session.run()
      const replies = new Map<number, Reply>()
      const buffer = Buffer.alloc(65536)
      for (;;) {
        try {
          const n = readSync(ours, buffer)
          if (n === 0) return replies
          t.equal(buffer.readUInt32LE(0), n, 'a reply is as long as it says')
          const at = buffer.readUInt32LE(8)
          t.notOk(replies.has(at), 'one reply for one request')
          replies.set(at, { error: buffer.readInt32LE(4), payload: Buffer.from(buffer.subarray(16, n)) })
        } catch (error) {
          t.equal((error as NodeJS.ErrnoException).code, 'EAGAIN')
          return replies
        }
      }
    },
  }
}

function init(minor: number, flags: number, flags2?: number, major = 7): Buffer {
  const body = Buffer.alloc(flags2 === undefined ? 16 : 64)
  body.writeUInt32LE(major, 0)
  body.writeUInt32LE(minor, 4)
  body.writeUInt32LE(131072, 8)
  body.writeUInt32LE(flags >>> 0, 12)
  if (flags2 !== undefined) body.writeUInt32LE(flags2, 16)
  return body
}

const EVERYTHING_IN_5_4 = 0x03fffffb

t.test('Linux 5.4 (7.31) is served without what it does not know', t => {
  const k = kernel(t)
  k.send(Op.INIT, init(31, EVERYTHING_IN_5_4))
  const reply = k.serve().get(1)
  t.equal(reply?.error, 0)
  const out = reply?.payload ?? Buffer.alloc(64)
  t.equal(out.length, 64)
  t.same([out.readUInt32LE(0), out.readUInt32LE(4)], [7, 31])
  t.equal(out.readUInt32LE(12) & ~EVERYTHING_IN_5_4, 0, 'nothing is asked for that was not offered')
  t.equal(out.readUInt32LE(32), 0, 'no flags beyond 31')
  t.equal(out.readUInt32LE(20), 1024 * 1024, 'large writes')
  t.match(k.host(), { passthrough: false, writeback: false, dontMask: true })
  t.end()
})

t.test('setxattr of a kernel without SETXATTR_EXT has its name 8 bytes earlier', t => {
  const k = kernel(t)
  k.send(Op.INIT, init(31, EVERYTHING_IN_5_4))
  const body = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('user.a\0xy')])
  k.send(Op.SETXATTR, body)
  t.equal(k.serve().get(2)?.error, -E.ENOENT)
  t.same(k.calls, ['setxattr'])
  t.end()
})

t.test('a kernel of a later major is told ours, and asked again', t => {
  const k = kernel(t)
  k.send(Op.INIT, init(3, 0, 0, 8))
  k.send(Op.INIT, init(45, 0x73fffffb, 0x5fd))
  const replies = k.serve()
  t.equal(replies.get(1)?.payload.readUInt32LE(0), 7)
  t.equal(replies.get(2)?.payload.readUInt32LE(4), 45)
  t.end()
})

t.test('a kernel that is too old is refused', t => {
  const k = kernel(t)
  k.send(Op.INIT, init(12, 0))
  t.equal(k.serve().get(1)?.error, -E.EPROTO)
  t.match(k.log, [/too old/])
  t.end()
})

t.test('every opcode, cut short or unknown, gets its one answer and harms nothing', t => {
  const silent = new Set<number>([Op.FORGET, Op.BATCH_FORGET, Op.INTERRUPT, Op.NOTIFY_REPLY])
  const k = kernel(t)
  k.send(Op.INIT, init(45, 0x73fffffb, 0x5fd))
  const sent: number[] = []
  for (let opcode = 1; opcode < 70; opcode++) {
    if (opcode === Op.INIT || opcode === STOP) continue
    sent.push(opcode)
    k.send(opcode)
  }
  const replies = k.serve()
  sent.forEach((opcode, i) => t.equal(replies.has(i + 2), !silent.has(opcode), `opcode ${opcode}`))
  t.same(k.log, [])
  t.end()
})

t.test('lengths and extensions that lie are not followed', t => {
  const k = kernel(t)
  k.send(Op.INIT, init(45, 0x73fffffb, 0x5fd))
  k.send(Op.LOOKUP, Buffer.from('name\0'), { length: 4000 })
  k.send(Op.MKDIR, Buffer.from('\0\0\0\0\0\0\0\0name\0'), { extensions: 0xffff })
  const body = Buffer.alloc(8)
  body.writeUInt32LE(0xffffffff, 0)
  k.send(Op.BATCH_FORGET, body)
  k.send(Op.LOOKUP, Buffer.from('name without end'))
  const replies = k.serve()
  t.notOk(replies.has(2))
  t.match(k.log, [/of 45 bytes that says 4000/])
  t.equal(replies.get(3)?.error, -E.ENOENT)
  t.equal(replies.get(5)?.error, -E.ENOENT)
  t.end()
})

t.test('nothing but INIT is served before INIT', t => {
  const k = kernel(t)
  k.send(Op.GETATTR, Buffer.alloc(16))
  k.send(Op.INIT, init(45, 0x73fffffb, 0x5fd))
  t.equal(k.serve().get(1)?.error, -E.EIO)
  t.same(k.calls, [])
  t.end()
})
