import t, { type Test } from 'tap'
import { createHash } from 'node:crypto'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { resolveImage } from '../../lib/image/images.js'
import { imageLowers } from '../../lib/image/lowers.js'
import { Store } from '../../lib/image/store.js'
import { launchServer } from '../../lib/mount/launch.js'
import { records } from '../../lib/mount/registry.js'
import { addressOf, alloc, syscall6 } from '../../lib/sys/libc.js'
import { lamina } from '../cli/lamina.js'
import { cannotMount, ended } from '../mount/workspace.js'
import { makeImage, ociArchive } from './made.js'

t.setTimeout(600_000)

const MOUNTS = 10
const PAGE = 4096
const content = Buffer.concat(Array.from({ length: 32768 }, (_, i) => createHash('sha512').update(String(i)).digest()))
const hex = createHash('sha256').update(content).digest('hex')

/** Pages of `path` in the page cache of that very inode (cachestat(2), Linux 6.5); undefined where the kernel cannot tell. */
function cachedPages(path: string): number | undefined {
  const fd = openSync(path, 'r')
  const memory = alloc(16 + 40)
  const r = syscall6(451, fd, addressOf(memory), addressOf(memory) + 16, 0, 0, 0)
  closeSync(fd)
  return r < 0 ? undefined : Number(memory.readBigUInt64LE(16))
}

/** Allocated bytes of everything below a directory. */
function disk(directory: string): number {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).reduce(
    (sum, name) => sum + statSync(join(directory, name)).blocks * 512,
    0,
  )
}

interface Usage {
  readonly blobs: { readonly disk: number }
  readonly objects: { readonly disk: number; readonly count: number }
  readonly indexes: { readonly disk: number }
  readonly users: { readonly count: number; readonly disk: number }
  readonly images: readonly { readonly name: string; readonly users: number }[]
}

async function loaded(t: Test): Promise<{ root: string; store: Store; points: string[]; out: Run }> {
  const scratch = mkdtempSync(join(tmpdir(), 'lamina-sharing-'))
  const root = join(scratch, 'store')
  const runRoot = join(scratch, 'run')
  process.env['LAMINA_RUN'] = runRoot
  const points = Array.from({ length: MOUNTS }, (_, i) => join(scratch, `m${i}`))
  for (const point of points) mkdirSync(point)
  const out: Run = async (...args) => {
    const { code, stdout, stderr } = await lamina('--root', root, ...args)
    if (code !== 0) throw new Error(`lamina ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  t.teardown(async () => {
    const servers = records(runRoot)
    await lamina('--root', root, 'unmount', '--all')
    for (const server of servers) await ended(server)
    rmSync(scratch, { recursive: true, force: true })
  })
  const archive = join(scratch, 'image.tar')
  writeFileSync(archive, ociArchive(makeImage([[{ name: 'large', data: content }]]), 'sharing/image:1'))
  await out('load', '-q', '-i', archive)
  rmSync(archive)
  return { root, store: Store.open(root), points, out }
}
type Run = (...args: string[]) => Promise<string>

t.test('ten mounts of one image: one copy on disk and one in memory', { skip: cannotMount }, async t => {
  const { root, store, points, out } = await loaded(t)
  const usage = async (): Promise<Usage> => JSON.parse(await out('df', '--json')) as Usage
  const before = await usage()
  const diskBefore = disk(join(root, 'objects')) + disk(join(root, 'blobs')) + disk(join(root, 'layers'))
  for (const point of points) await out('mount', 'sharing/image:1', point)
  for (const point of points)
    t.ok(readFileSync(join(point, 'large')).equals(content), `${point.slice(-2)} shows the file`)

  const after = await usage()
  t.equal(disk(join(root, 'objects')) + disk(join(root, 'blobs')) + disk(join(root, 'layers')), diskBefore)
  for (const part of ['blobs', 'objects', 'indexes'] as const) t.same(after[part], before[part], `no more ${part}`)
  t.same(before.users, { count: 0, disk: 0 })
  t.same(after.users, { count: MOUNTS, disk: 0 }, 'df: ten mounts, and no byte for them')
  t.same(
    after.images.map(i => i.users),
    [MOUNTS],
  )
  t.match(await out('df'), /^Mounts and containers +10 +10 +0B/m)

  const servers = records(process.env['LAMINA_RUN'] as string)
  t.equal(servers.length, MOUNTS)
  const pages = cachedPages(store.object(hex))
  if (pages === undefined) return t.comment('page cache not counted: no cachestat(2) before Linux 6.5')
  if (!servers.every(s => s.passthrough)) return t.comment('page cache not counted: no passthrough on this machine')
  t.equal(pages, content.length / PAGE, 'the object is in the page cache, once')
  t.same(
    points.map(point => cachedPages(join(point, 'large'))),
    points.map(() => 0),
    'and not one page of it belongs to a mount',
  )
})

t.test('the count would see it: without passthrough a mount keeps pages of its own', { skip: cannotMount }, async t => {
  const { store, points } = await loaded(t)
  const lowers = imageLowers(store, resolveImage(store, 'sharing/image:1'))
  const runRoot = process.env['LAMINA_RUN'] as string
  const [mountpoint] = points as [string]
  await launchServer({ spec: { lowers, readOnly: true, passthrough: false }, mountpoint, runRoot })
  t.ok(readFileSync(join(mountpoint, 'large')).equals(content))
  const pages = cachedPages(join(mountpoint, 'large'))
  if (pages === undefined) return t.comment('not counted: no cachestat(2) before Linux 6.5')
  t.ok(pages > 0, `${pages} pages`)
})
