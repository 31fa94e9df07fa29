/**
 * Owns the rows: what is measured, in groups that share a mount. A group's `run` is called once per peer and repetition
 * on a fresh stack, and returns a number per row.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Outcome } from './client.js'
import type { Material } from './material.js'
import { memoryOf, type Mounted, type Peer, type Stack } from './peers.js'
import { runClient, startClient } from './run-client.js'

export interface Row {
  readonly id: string
  readonly title: string
  readonly unit: 's' | 'µs' | 'MB/s' | 'IOPS' | 'MB' | 'ms'
}

export interface Bench {
  readonly material: Material
  readonly peer: Peer
  /** The mountpoint. */
  readonly point: string
  readonly mounted: Mounted
  readonly mountSeconds: number
  /** Another stack over the same lowers, mounted too; taken down at the end of the group. */
  another(): Promise<Mounted & { readonly point: string }>
  /** Unmounts and mounts again, with all caches of the machine dropped. */
  cold(): Promise<void>
  /** Remembers what every peer must agree on; throws when one does not. */
  agree(row: string, check: string): void
}

export interface Group {
  readonly name: string
  readonly lowers: 'root' | 'flat' | 'big' | 'none'
  readonly rows: readonly Row[]
  /** Peers that cannot do it. */
  readonly without?: readonly string[]
  run(bench: Bench): Promise<Readonly<Record<string, number>>>
}

export type { Stack }

const PARALLEL = 8
const TEN = 10
const seconds = (run: () => unknown): number => {
  const start = process.hrtime.bigint()
  run()
  return Number(process.hrtime.bigint() - start) / 1e9
}
const sh = (script: string, ...args: string[]): void => {
  execFileSync('sh', ['-ec', script, 'sh', ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
}
const each = (outcome: Outcome): number => (outcome.seconds / outcome.count) * 1e6
const rate = (outcome: Outcome): number => outcome.bytes / outcome.seconds / 1e6
const cachedMB = (): number => Number(/^Cached:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0) / 1024

/** All names a work was done on, alike for every peer. */
async function measured(
  b: Bench,
  row: string,
  work: Parameters<typeof runClient>[0],
  options: object,
): Promise<Outcome> {
  const outcome = await runClient(work, { path: b.point, ...options })
  b.agree(row, outcome.check)
  return outcome
}

const readRoot: Group = {
  name: 'read-root',
  lowers: 'root',
  rows: [
    { id: 'walk-cold', title: 'stat walk, cold', unit: 's' },
    { id: 'walk-warm', title: 'stat walk, warm', unit: 's' },
    { id: 'walk-user', title: 'stat walk, warm, as another user', unit: 's' },
    { id: 'walk-parallel', title: '8 parallel warm walks', unit: 's' },
    { id: 'read-cold', title: 'read every file, cold', unit: 's' },
    { id: 'read-warm', title: 'read every file, warm', unit: 's' },
  ],
  async run(b) {
    const coldly = async (work: 'walk' | 'readAll', row: string): Promise<number> => {
      const client = await startClient(work, { path: b.point })
      await b.cold()
      const outcome = await client.go()
      b.agree(row, outcome.check)
      return outcome.seconds
    }
    const walkCold = await coldly('walk', 'walk')
    await runClient('walk', { path: b.point })
    const walkWarm = (await measured(b, 'walk', 'walk', {})).seconds
    const parallel = await Promise.all(Array.from({ length: PARALLEL }, () => startClient('walk', { path: b.point })))
    const start = process.hrtime.bigint()
    await Promise.all(parallel.map(client => client.go()))
    const walkParallel = Number(process.hrtime.bigint() - start) / 1e9
    const readCold = await coldly('readAll', 'read')
    const readWarm = (await measured(b, 'read', 'readAll', {})).seconds
    return {
      'walk-cold': walkCold,
      'walk-warm': walkWarm,
      'walk-user': await walkAsUser(b),
      'walk-parallel': walkParallel,
      'read-cold': readCold,
      'read-warm': readWarm,
    }
  },
}

/** The part of the tree that everybody may read: `usr`. */
async function walkAsUser(b: Bench): Promise<number> {
  const path = join(b.point, 'usr')
  await runClient('walk', { path, user: 65534 })
  const outcome = await runClient('walk', { path, user: 65534 })
  b.agree('walk-user', outcome.check)
  return outcome.seconds
}

const readFlat: Group = {
  name: 'read-flat',
  lowers: 'flat',
  rows: [
    { id: 'list', title: 'list a large directory, cold', unit: 's' },
    { id: 'open-read', title: 'open and read small files', unit: 'µs' },
    { id: 'missing', title: 'stat of missing names', unit: 'µs' },
  ],
  async run(b) {
    const path = join(b.point, 'flat')
    const count = b.material.sizes.files
    const client = await startClient('list', { path })
    await b.cold()
    const list = await client.go()
    b.agree('list', list.check)
    await measured(b, 'open-read', 'openRead', { path, count })
    const openRead = await measured(b, 'open-read', 'openRead', { path, count })
    const missing = await measured(b, 'missing', 'missing', { path, count })
    return { list: list.seconds, 'open-read': each(openRead), missing: each(missing) }
  },
}

const write: Group = {
  name: 'write',
  lowers: 'none',
  rows: [
    { id: 'create', title: 'create small files', unit: 'µs' },
    { id: 'unlink', title: 'unlink them', unit: 'µs' },
    { id: 'write-seq', title: 'sequential write', unit: 'MB/s' },
    { id: 'read-seq', title: 'sequential read, warm', unit: 'MB/s' },
    { id: 'read-random', title: 'random 4k read, warm', unit: 'IOPS' },
    { id: 'write-random', title: 'random 4k write', unit: 'IOPS' },
    { id: 'write-fsync', title: 'random 4k write, fsync each 32', unit: 'IOPS' },
  ],
  async run(b) {
    const count = b.material.sizes.files
    const size = b.material.sizes.bigMiB << 20
    const path = join(b.point, 'made')
    mkdirSync(path)
    await runClient('create', { path, count: 200, size: 100 })
    await runClient('unlinkMany', { path, count: 200 })
    const create = await measured(b, 'create', 'create', { path, count, size: 100 })
    const unlink = await measured(b, 'unlink', 'unlinkMany', { path, count })
    const file = join(b.point, 'large')
    const writeSeq = await measured(b, 'write-seq', 'writeSequential', { path: file, size })
    await measured(b, 'read-seq', 'readSequential', { path: file })
    const readSeq = await measured(b, 'read-seq', 'readSequential', { path: file })
    const readRandom = await measured(b, 'read-random', 'readRandom', { path: file, size, count: 50_000 })
    const random = await measured(b, 'write-random', 'writeRandom', { path: file, size, count: 20_000 })
    execFileSync('sync', [file])
    const sync = await measured(b, 'write-fsync', 'writeRandom', { path: file, size, count: 2000, fsyncEvery: 32 })
    return {
      create: each(create),
      unlink: each(unlink),
      'write-seq': rate(writeSeq),
      'read-seq': rate(readSeq),
      'read-random': readRandom.count / readRandom.seconds,
      'write-random': random.count / random.seconds,
      'write-fsync': sync.count / sync.seconds,
    }
  },
}

const copyUp: Group = {
  name: 'copy-up',
  lowers: 'flat',
  without: ['plain'],
  rows: [
    { id: 'copyup-append', title: 'copy-up of a small file by append', unit: 'µs' },
    { id: 'copyup-chmod', title: 'copy-up of a small file by chmod', unit: 'µs' },
  ],
  async run(b) {
    const path = join(b.point, 'flat')
    const count = Math.min(1000, b.material.sizes.files)
    await runClient('list', { path })
    const append = await measured(b, 'copyup-append', 'append', { path, count })
    // On a stack of its own, where nothing is copied up yet.
    const other = join((await b.another()).point, 'flat')
    await runClient('list', { path: other })
    const chmod = await measured(b, 'copyup-chmod', 'chmodMany', { path: other, count })
    return { 'copyup-append': each(append), 'copyup-chmod': each(chmod) }
  },
}

const bigAppend: Group = {
  name: 'append-big',
  lowers: 'big',
  without: ['plain'],
  rows: [{ id: 'append-big', title: 'append 1 byte to a large lower file', unit: 's' }],
  async run(b) {
    const outcome = await measured(b, 'append-big', 'appendOne', { path: join(b.point, 'big') })
    return { 'append-big': outcome.seconds }
  },
}

const wholeTree: Group = {
  name: 'tree',
  lowers: 'root',
  rows: [
    { id: 'chown-r', title: 'chown -R of the root', unit: 's' },
    { id: 'rm-rf', title: 'rm -rf of its usr', unit: 's' },
  ],
  async run(b) {
    const chown = seconds(() => sh('chown -R 1000:1000 "$1"', b.point))
    const rm = seconds(() => sh('rm -rf "$1"', join(b.point, 'usr')))
    b.agree('rm-rf', readdirSync(b.point).sort().join(' '))
    return { 'chown-r': chown, 'rm-rf': rm }
  },
}

const programs: Group = {
  name: 'programs',
  lowers: 'root',
  rows: [
    { id: 'untar', title: 'untar a source tree', unit: 's' },
    { id: 'git-add', title: 'git add', unit: 's' },
    { id: 'git-status', title: 'git status', unit: 's' },
    { id: 'gcc', title: 'gcc runs', unit: 's' },
    { id: 'dpkg', title: 'dpkg -i', unit: 's' },
  ],
  async run(b) {
    const values: Record<string, number> = {}
    values['untar'] = seconds(() => sh('tar -C "$1" -xf "$2"', b.point, b.material.sourceTar))
    const source = join(b.point, 'source')
    const git = 'git -C "$1" -c core.fsync=none -c user.name=b -c user.email=b@localhost -c gc.auto=0'
    if (existsSync('/usr/bin/git')) {
      sh(`${git} init -q`, source)
      values['git-add'] = seconds(() => sh(`${git} add -A`, source))
      sh(`${git} commit -qm all`, source)
      sh(`${git} status`, source)
      values['git-status'] = seconds(() => sh(`${git} status`, source))
    }
    if (existsSync('/usr/bin/gcc')) {
      const files = Array.from({ length: 40 }, (_, i) => `module${i % 40}/part${i % 7}/file${i}.c`)
      values['gcc'] = seconds(() => {
        for (const file of files) sh('cd "$1" && gcc -O1 -c "$2" -o "$2.o"', source, file)
      })
      b.agree('gcc', String(statSync(join(source, `${files[0]}.o`)).size))
    }
    if (b.material.debs.length > 0) {
      mkdirSync(join(b.point, 'var/lib/dpkg/updates'), { recursive: true })
      mkdirSync(join(b.point, 'var/lib/dpkg/info'), { recursive: true })
      for (const name of ['status', 'available']) writeFileSync(join(b.point, 'var/lib/dpkg', name), '')
      values['dpkg'] = seconds(() =>
        execFileSync('dpkg', [`--root=${b.point}`, '--force-not-root', '-i', ...b.material.debs], {
          stdio: ['ignore', 'ignore', 'pipe'],
        }),
      )
    }
    return values
  },
}

const tenMounts: Group = {
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
    await b.cold()
    const before = cachedMB()
    let total = 0
    for (const point of points) {
      const outcome = await runClient('readSequential', { path: join(point, 'big') })
      b.agree('ten-time', outcome.check)
      total += outcome.seconds
    }
    return { 'ten-cache': cachedMB() - before, 'ten-time': total }
  },
}

const memory: Group = {
  name: 'memory',
  lowers: 'root',
  without: ['plain', 'kernel'],
  rows: [
    { id: 'mount', title: 'mount, until it answers', unit: 'ms' },
    { id: 'rss-idle', title: 'server: resident memory, idle', unit: 'MB' },
    { id: 'private-idle', title: 'server: private memory, idle', unit: 'MB' },
    { id: 'rss-walk', title: 'server: resident memory after a walk', unit: 'MB' },
    { id: 'private-walk', title: 'server: private memory after a walk', unit: 'MB' },
    { id: 'rss-create', title: 'server: resident memory after creates', unit: 'MB' },
  ],
  async run(b) {
    const { pid } = b.mounted
    if (pid === undefined) return {}
    const idle = memoryOf(pid)
    await runClient('walk', { path: b.point })
    const walked = memoryOf(pid)
    const path = join(b.point, 'made')
    mkdirSync(path)
    await runClient('create', { path, count: b.material.sizes.files, size: 100 })
    const created = memoryOf(pid)
    return {
      mount: b.mountSeconds * 1000,
      'rss-idle': idle.rss,
      'private-idle': idle.anonymous,
      'rss-walk': walked.rss,
      'private-walk': walked.anonymous,
      'rss-create': created.rss,
    }
  },
}

export const groups: readonly Group[] = [
  readRoot,
  readFlat,
  write,
  copyUp,
  bigAppend,
  wholeTree,
  programs,
  tenMounts,
  memory,
]
