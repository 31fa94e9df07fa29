/**
 * The process behind MountHost: serves each mount by a thread (by a process where the transport needs one of its own),
 * does one order after the other.
 */
import { createReadStream, openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { launchServer } from '../../lib/mount/launch.js'
import { MountServer } from '../../lib/mount/server.js'
import { unmountPath } from '../../lib/mount/unmount.js'
import { runRoot } from '../../lib/roots.js'
import type { MountAnswer, MountOrder } from './mount-host.js'

const [orders = '', answers = ''] = process.argv.slice(2)
const out = openSync(answers, 'r+')
const servers = new Map<string, MountServer>()
const apart = new Set<string>()
let log: string[] = []

for await (const line of createInterface({ input: createReadStream(orders) })) {
  const order = JSON.parse(line) as MountOrder
  let answer: Omit<MountAnswer, 'log'> = {}
  try {
    answer = await carryOut(order)
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) }
  }
  writeSync(out, `${JSON.stringify({ ...answer, log } satisfies MountAnswer)}\n`)
  log = []
  if (order.op === 'end') process.exit(0)
}

async function carryOut(order: MountOrder): Promise<Omit<MountAnswer, 'log'>> {
  if (order.op === 'end') {
    for (const server of servers.values()) server.unmount(true)
    for (const mountpoint of apart) await unmountPath(runRoot(), mountpoint, { lazy: true })
    return {}
  }
  if (order.op === 'mount' && order.spec.transport === 'fuse-native') {
    await launchServer({ ...order, runRoot: runRoot() })
    apart.add(order.mountpoint)
    return { passthrough: false }
  }
  if (order.op === 'unmount' && apart.delete(order.mountpoint)) {
    await unmountPath(runRoot(), order.mountpoint)
    return {}
  }
  if (order.op === 'mount') {
    const server = await MountServer.start(order.spec, order.mountpoint, { log: text => log.push(text) })
    servers.set(order.mountpoint, server)
    return { passthrough: server.passthrough }
  }
  const server = servers.get(order.mountpoint)
  if (server === undefined) throw new Error('no such mount')
  if (order.op === 'stats') return { stats: server.stats() }
  const r = server.unmount()
  if (r < 0) throw new Error(`umount: ${r}`)
  await server.ended
  servers.delete(order.mountpoint)
  return {}
}
