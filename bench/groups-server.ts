/** Owns the rows about the server itself: how soon it answers, what memory it takes, what ten of them share. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { memoryOf } from './peers.js'
import type { Group } from './row.js'
import { runClient } from './run-client.js'
import { median } from './sample.js'

const TEN = 10
/** Starts for one number. */
const STARTS = 5

const cachedMB = (): number => Number(/^Cached:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) / 1024

/** The median of some starts, in milliseconds, as row `id`; empty where `start` gives nothing. */
async function starts(id: string, start: () => Promise<number | undefined>): Promise<Record<string, number>> {
  const times: number[] = []
  for (let i = 0; i < STARTS; i++) {
    const seconds = await start()
    if (seconds !== undefined) times.push(seconds)
  }
  const middle = median(times)
  return middle === undefined ? {} : { [id]: middle * 1000 }
}

export const tenMounts: Group = {
  name: 'ten-mounts',
  lowers: 'big',
  without: ['plain'],
  rows: [
    { id: 'ten-cache', title: 'ten mounts read one large file: page cache', unit: 'MB' },
    { id: 'ten-time', title: 'ten mounts read one large file', unit: 's' },
  ],
  async run(b) {
    const points = [b.point]
    for (let i = 1; i < TEN; i++) points.push((await b.another()).point)
    b.warm()
    if (!(await b.cold('all'))) return {}
    const before = cachedMB()
    const seconds = await b.during('ten-time', TEN, async () => {
      let total = 0
      for (const point of points) {
        const outcome = await runClient('readSequential', { path: join(point, 'big') })
        b.agree('ten-time', outcome.check)
        total += outcome.seconds
      }
      return total
    })
    return { 'ten-cache': cachedMB() - before, 'ten-time': seconds }
  },
}

const ofServer: Group = {
  name: 'memory',
  lowers: 'root',
  without: ['plain'],
  rows: [
    { id: 'mount', title: 'mount, until it answers', unit: 'ms' },
    { id: 'mount-command', title: 'the whole mount command', unit: 'ms' },
    { id: 'node', title: '`node -e 0`, for comparison', unit: 'ms' },
    { id: 'rss-idle', title: 'server: resident memory, idle', unit: 'MB' },
    { id: 'pss-idle', title: 'server: proportional memory, idle', unit: 'MB' },
    { id: 'private-idle', title: 'server: private memory, idle', unit: 'MB' },
    { id: 'rss-walk', title: 'server: resident memory after a walk', unit: 'MB' },
    { id: 'private-walk', title: 'server: private memory after a walk', unit: 'MB' },
    { id: 'rss-create', title: 'server: resident memory after creates', unit: 'MB' },
    { id: 'private-create', title: 'server: private memory after creates', unit: 'MB' },
  ],
  async run(b) {
    const values = {
      mount: b.mountSeconds * 1000,
      ...(b.wants('mount-command') ? await starts('mount-command', () => b.command()) : {}),
      ...(b.wants('node') ? await starts('node', () => b.timed([process.execPath, '-e', '0'])) : {}),
    }
    const { pid } = b.mounted
    if (pid === undefined) return values
    const idle = memoryOf(pid)
    await runClient('walk', { path: b.point })
    const walked = memoryOf(pid)
    const path = join(b.point, 'made')
    mkdirSync(path)
    await runClient('create', { path, count: b.material.sizes.files, size: 100 })
    const created = memoryOf(pid)
    return {
      ...values,
      'rss-idle': idle.rss,
      'pss-idle': idle.pss,
      'private-idle': idle.anonymous,
      'rss-walk': walked.rss,
      'private-walk': walked.anonymous,
      'rss-create': created.rss,
      'private-create': created.anonymous,
    }
  },
}

const ofManyFiles: Group = {
  name: 'memory-many',
  lowers: 'huge',
  without: ['plain', 'kernel', 'kernel-metacopy'],
  long: true,
  rows: [
    { id: 'rss-many', title: 'server: resident memory after a walk of 150,000 files', unit: 'MB' },
    { id: 'private-many', title: 'server: private memory after a walk of 150,000 files', unit: 'MB' },
  ],
  async run(b) {
    const { pid } = b.mounted
    if (pid === undefined) return {}
    await b.measured('private-many', 'walk')
    const { rss, anonymous } = memoryOf(pid)
    return { 'rss-many': rss, 'private-many': anonymous }
  },
}

export const memory: readonly Group[] = [ofServer, ofManyFiles]
