/**
 * `node dist/bench/images.js [--layout DIR:TAG] [--repeat N] [--dir DIR]`: measures images beside their peers in one run.
 * - import: `lamina load` against `umoci unpack` and `podman load` of the same OCI layout, with peak memory;
 * - mount: an image of 150,000 files in 50 layers against an empty one, and a cold walk of it against the kernel's
 *   overlayfs over the same 50 layers unpacked.
 * Needs root, umoci and podman for the first (left out when missing). Without --layout an image is made of this machine's /usr.
 * Correctness first: both walks must count the same. Results are lines of JSON; a row that has a bar says whether it holds.
 *
 * Nothing is deleted before the end, and each place has a block group of its own: ext4 steps over every inode that was
 * deleted lately, which made creating a file thirty times slower here, and the peer that came after a deletion the loser.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { imageLowers } from '../lib/image/lowers.js'
import { resolveImage } from '../lib/image/images.js'
import { ImageWriter } from '../lib/image/writer.js'
import { Store } from '../lib/image/store.js'
import { MountServer } from '../lib/mount/server.js'
import { TreeInode } from '../lib/layer/tree.js'
import { has } from './side-by-side.js'

const { values: options } = parseArgs({
  options: {
    layout: { type: 'string' },
    repeat: { type: 'string' },
    dir: { type: 'string' },
    only: { type: 'string' },
  },
})
const LAYERS = 50
const FILES = 3000
/** What has to hold: ratios of wall time to the peers', megabytes, milliseconds. */
const BARS = { import: 0.65, megabytes: 250, mountMs: 150, walk: 1 }
const scratch = mkdtempSync(join(options.dir ?? tmpdir(), 'lamina-bench-images-'))
const repeat = Number(options.repeat ?? 3)
const lamina = new URL('../bin/lamina.js', import.meta.url).pathname
const say = (row: object): void => void process.stdout.write(`${JSON.stringify(row)}\n`)
const median = (list: number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] as number

ownGroup(scratch)

try {
  if (options.only !== 'mount') importRows()
  if (options.only !== 'import') await mountRows()
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

/** Directories made in it go to block groups of their own (chattr(1), T). Where the filesystem has none, nothing changes. */
function ownGroup(directory: string): void {
  spawnSync('chattr', ['+T', directory])
}

/** A new directory for one measurement, on a disk that has nothing else to do. */
function place(name: string): string {
  const path = join(scratch, name)
  mkdirSync(path)
  ownGroup(path)
  spawnSync('sync')
  return path
}

/** Wall seconds, CPU seconds and peak memory (MB) of a command, its children included. */
function timed(
  program: string,
  args: string[],
  env: NodeJS.ProcessEnv = process.env,
): { wall: number; cpu: number; mb: number } {
  const log = join(scratch, 'time')
  const r = spawnSync('/usr/bin/time', ['-o', log, '-f', '%e %U %S %M', program, ...args], { env, encoding: 'utf8' })
  if (r.status !== 0) throw new Error(`${program} ${args.join(' ')}: ${r.stderr}`)
  const [wall = 0, user = 0, system = 0, kilobytes = 0] = readFileSync(log, 'utf8').trim().split(' ').map(Number)
  return { wall, cpu: user + system, mb: Math.round(kilobytes / 1024) }
}

function importRows(): void {
  const layout = options.layout ?? makeLayout()
  const directory = layout.slice(0, layout.lastIndexOf(':'))
  const archive = join(scratch, 'archive.tar')
  spawnSync('tar', ['cf', archive, '-C', directory, '.'])
  const inPodman = (directory: string): string[] => {
    // podman refuses a run root of more than 50 characters.
    const roots = ['--root', join(directory, 'root'), '--runroot', mkdtempSync('/tmp/lamina-podman-')]
    return [...roots, '--storage-driver', 'overlay', 'load', '-q', '-i', archive]
  }
  const peers: [string, (directory: string) => ReturnType<typeof timed>][] = [
    [
      'lamina load',
      directory => {
        const env = { ...process.env, LAMINA_ROOT: join(directory, 'store') }
        return timed(process.execPath, [lamina, 'load', '-q', '-i', archive], env)
      },
    ],
  ]
  if (has('umoci'))
    peers.push(['umoci unpack', directory => timed('umoci', ['unpack', '--image', layout, join(directory, 'bundle')])])
  if (has('podman')) peers.push(['podman load', directory => timed('podman', inPodman(directory))])
  const results = new Map<string, { wall: number; cpu: number; mb: number }[]>()
  for (let round = 0; round < repeat; round++)
    for (const [name, go] of peers) {
      const result = go(place(`${name.replace(' ', '-')}-${round}`))
      results.set(name, [...(results.get(name) ?? []), result])
    }
  const own = results.get('lamina load') ?? []
  for (const [name, list] of results) {
    const ratio = Number((median(own.map(r => r.wall)) / median(list.map(r => r.wall))).toFixed(2))
    const mb = Math.max(...list.map(r => r.mb))
    say({
      row: 'import',
      peer: name,
      wall: median(list.map(r => r.wall)),
      walls: list.map(r => r.wall),
      cpu: median(list.map(r => r.cpu)),
      mb,
      laminaRatio: ratio,
      laminaCpuRatio: Number((median(own.map(r => r.cpu)) / median(list.map(r => r.cpu))).toFixed(2)),
      ...(list === own
        ? { bar: BARS.megabytes, holds: mb < BARS.megabytes }
        : { bar: BARS.import, holds: ratio <= BARS.import }),
    })
  }
}

/** Three gzip layers of this machine's files. */
function makeLayout(): string {
  const layout = join(scratch, 'layout')
  const blobs = join(layout, 'blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  const put = (bytes: Buffer): { digest: string; size: number } => {
    const hex = createHash('sha256').update(bytes).digest('hex')
    writeFileSync(join(blobs, hex), bytes)
    return { digest: `sha256:${hex}`, size: bytes.length }
  }
  const layers: object[] = []
  const diffIDs: string[] = []
  for (const dirs of [['usr/bin'], ['usr/share/doc', 'usr/share/locale'], ['usr/lib/python3', 'usr/lib/gcc']]) {
    const tar = join(scratch, 'layer.tar')
    spawnSync('tar', ['cf', tar, '--sort=name', '-C', '/', ...dirs])
    diffIDs.push(`sha256:${spawnSync('sha256sum', [tar], { encoding: 'utf8' }).stdout.slice(0, 64)}`)
    spawnSync('gzip', ['-f', tar])
    const hex = spawnSync('sha256sum', [`${tar}.gz`], { encoding: 'utf8' }).stdout.slice(0, 64)
    const size = statSync(`${tar}.gz`).size
    renameSync(`${tar}.gz`, join(blobs, hex))
    layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: `sha256:${hex}`, size })
  }
  const config = put(
    Buffer.from(
      JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: diffIDs } }),
    ),
  )
  const manifest = put(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
        layers,
      }),
    ),
  )
  writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  const descriptor = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    ...manifest,
    annotations: { 'org.opencontainers.image.ref.name': 'bench' },
  }
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [descriptor] }))
  return `${layout}:bench`
}

async function mountRows(): Promise<void> {
  const store = Store.open(join(scratch, 'store'))
  const writer = await ImageWriter.open(store)
  const file = (object: string, size: number): TreeInode => {
    const inode = new TreeInode(0o100644)
    inode.object = object
    inode.size = size
    return inode
  }
  const layers = []
  for (let l = 0; l < LAYERS; l++) {
    const root = new TreeInode(0o040755)
    for (let d = 0; d < 30; d++) {
      const dir = new TreeInode(0o040755)
      root.children?.set(`layer${l}-dir${d}`, dir)
      for (let f = 0; f < FILES / 30; f++) {
        const content = Buffer.from(`${l} ${d} ${f}`)
        dir.children?.set(`file-${f}`, file(writer.putBytes(content), content.length))
      }
    }
    layers.push(await writer.addTree(root, { compression: 'none' }))
  }
  await writer.addImage({ os: 'linux', architecture: 'amd64' }, layers, ['docker.io/bench/large:1'])
  const start = performance.now()
  imageLowers(store, resolveImage(store, 'bench/large:1'))
  say({ row: 'flatten', ms: Math.round(performance.now() - start), files: LAYERS * FILES })
  const empty = await writer.addTree(new TreeInode(0o040755), { compression: 'none' })
  await writer.addImage({ os: 'linux', architecture: 'amd64' }, [empty], ['docker.io/bench/empty:1'])
  writer.close()

  const merged = join(scratch, 'merged')
  mkdirSync(merged)
  const lowerdir = unpack()
  const times = new Map<string, number[]>()
  const walks = new Map<string, number[]>()
  const keep = (all: Map<string, number[]>, name: string, since: number): void =>
    void all.set(name, [...(all.get(name) ?? []), performance.now() - since])
  const counts = new Set<string>()
  const timedWalk = (name: string, directory: string): void => {
    const from = performance.now()
    counts.add(walk(directory))
    keep(walks, name, from)
  }
  // In turns: what slows this machine down for a while slows both.
  for (let round = 0; round < repeat; round++) {
    for (const name of ['bench/empty:1', 'bench/large:1']) {
      const mountpoint = mkdtempSync(join(scratch, 'mnt-'))
      forget()
      const before = performance.now()
      const spec = { lowers: imageLowers(store, resolveImage(store, name)), readOnly: true }
      const server = await MountServer.start(spec, mountpoint)
      readdirSync(mountpoint)
      keep(times, name, before)
      if (name === 'bench/large:1') timedWalk('lamina', mountpoint)
      server.unmount()
    }
    forget()
    const m = spawnSync('mount', ['-t', 'overlay', 'bench', '-o', `ro,lowerdir=${lowerdir}`, merged], {
      cwd: scratch,
      encoding: 'utf8',
    })
    if (m.status !== 0) throw new Error(`mount overlay: ${m.stderr}`)
    try {
      timedWalk('overlayfs', merged)
    } finally {
      spawnSync('umount', [merged])
    }
  }
  if (counts.size !== 1) throw new Error(`the walks differ: ${[...counts].join(', ')}`)
  const of = (all: Map<string, number[]>, name: string): number => Math.round(median(all.get(name) ?? []))
  const [large, none] = [of(times, 'bench/large:1'), of(times, 'bench/empty:1')]
  const holds = large - none < BARS.mountMs
  say({
    row: 'mount',
    large,
    empty: none,
    moreMs: large - none,
    files: LAYERS * FILES,
    layers: LAYERS,
    bar: BARS.mountMs,
    holds,
  })
  const [laminaMs, overlayfsMs] = [of(walks, 'lamina'), of(walks, 'overlayfs')]
  const ratio = Number((laminaMs / overlayfsMs).toFixed(2))
  const all = Object.fromEntries([...walks].map(([name, list]) => [name, list.map(Math.round)]))
  say({
    row: 'cold walk',
    laminaMs,
    overlayfsMs,
    all,
    entries: [...counts][0],
    ratio,
    bar: BARS.walk,
    holds: ratio < BARS.walk,
  })
}

/** The same layers as directories: overlayfs's lowerdir, relative to `scratch`. */
function unpack(): string {
  const unpacked: string[] = []
  for (let l = 0; l < LAYERS; l++) {
    const top = join(scratch, 'u', String(l))
    for (let d = 0; d < 30; d++) {
      const dir = join(top, `layer${l}-dir${d}`)
      mkdirSync(dir, { recursive: true })
      for (let f = 0; f < FILES / 30; f++) writeFileSync(join(dir, `file-${f}`), `${l} ${d} ${f}`)
    }
    unpacked.unshift(join('u', String(l)))
  }
  return unpacked.join(':')
}

/**
 * Nothing is cached any more. All of it, or the two are not cold alike: dropping names and inodes alone (2) takes the pages of
 * the index with its inode, but leaves ext4's inode tables in memory.
 */
function forget(): void {
  spawnSync('sync')
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}

/** Lists and stats everything, in a process of its own; how many entries there were. */
function walk(directory: string): string {
  const r = spawnSync('find', [directory, '-printf', '%y%m\\n'], { encoding: 'utf8', maxBuffer: 1 << 28 })
  return String(r.stdout.split('\n').length)
}
