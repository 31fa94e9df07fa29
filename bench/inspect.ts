/**
 * `npm run build && node dist/bench/inspect.js [REPEAT]`: what looking into a large image costs, whole processes, beside a
 * bare `node -e 0` of the same run. An image of 150,000 files in four layers, and a container that changed ten of them.
 * Prints one line of JSON per measurement and a table of medians; everything it made is removed.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ImageWriter } from '../lib/image/writer.js'
import { Store } from '../lib/image/store.js'
import { TreeInode } from '../lib/layer/tree.js'
import { environment } from './side-by-side.js'

const PACKAGES = 1500
const FILES = 100
const repeat = Number(process.argv[2] ?? 5)
const scratch = mkdtempSync(join(tmpdir(), 'lamina-bench-inspect-'))
const root = join(scratch, 'store')
const env = environment(scratch)
const program = new URL('../bin/lamina.js', import.meta.url).pathname
const samples = new Map<string, number[]>()

try {
  await makeImages()
  const changes = run('diff', 'web')
    .split('\n')
    .filter(line => /^[ACD] \/usr\/p/.test(line))
  if (changes.length !== 11) throw new Error(`diff says ${changes.length} lines:\n${changes.join('\n')}`)
  const total = /"added":150000/.test(run('layers', '--json', 'bench:1'))
  if (!total) throw new Error('layers does not count 150000 files')
  for (let i = 0; i < repeat; i++) {
    measure('node -e 0', () => execFileSync(process.execPath, ['-e', '0'], { env }))
    measure('diff CONTAINER, 10 changes in 150,000 files', () => run('diff', 'web'))
    measure('diff IMAGE IMAGE, one layer more', () => run('diff', 'bench:0', 'bench:1'))
    measure('layers IMAGE', () => run('layers', 'bench:1'))
    measure('layers --json', () => run('layers', '--json', 'bench:1'))
    measure('explore --html', () => run('explore', 'bench:1', '--html', join(scratch, 'page.html')))
    await measurePage()
  }
  const median = (all: readonly number[]): number => [...all].sort((a, b) => a - b)[all.length >> 1] ?? NaN
  const bare = median(samples.get('node -e 0') ?? [])
  process.stdout.write('\n| what | median ms | × bare node |\n|---|---|---|\n')
  for (const [name, all] of samples) {
    process.stdout.write(`| ${name} | ${median(all).toFixed(0)} | ${(median(all) / bare).toFixed(1)} |\n`)
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

function run(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (status !== 0) throw new Error(`lamina ${args.join(' ')}: ${stderr}`)
  return stdout
}

function measure(name: string, work: () => unknown): void {
  const start = process.hrtime.bigint()
  work()
  record(name, Number(process.hrtime.bigint() - start) / 1e6)
}

function record(name: string, milliseconds: number): void {
  samples.set(name, [...(samples.get(name) ?? []), milliseconds])
  process.stdout.write(`${JSON.stringify({ name, milliseconds })}\n`)
}

/** From navigation to the first usable frame, as the page itself tells, where chromium is installed. */
async function measurePage(): Promise<void> {
  if (!existsSync('/usr/bin/chromium')) return
  const { chromium } = await import('playwright-core')
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    env: { ...process.env, HOME: scratch },
  })
  try {
    const page = await browser.newPage()
    await page.goto(`file://${join(scratch, 'page.html')}`)
    await page.waitForSelector('body[data-ready]')
    record('page interactive', await page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
  } finally {
    await browser.close()
  }
}

async function makeImages(): Promise<void> {
  const store = Store.open(root)
  const writer = await ImageWriter.open(store)
  try {
    const inode = (mode: number): TreeInode => Object.assign(new TreeInode(mode), { mtime: 1_700_000_000 })
    const objects = await Promise.all(
      Array.from({ length: 500 }, (_, i) => Promise.resolve(writer.putBytes(Buffer.from(`content ${i}`)))),
    )
    const tree = (packages: number, files: number, mode: number): TreeInode => {
      const top = inode(0o40755)
      const usr = inode(0o40755)
      top.children?.set('usr', usr)
      for (let p = 0; p < packages; p++) {
        const dir = inode(0o40755)
        usr.children?.set(`p${p}`, dir)
        for (let f = 0; f < files; f++) {
          const file = inode(mode)
          const n = (p * 31 + f) % objects.length
          file.object = objects[n] as string
          file.size = `content ${n}`.length
          dir.children?.set(`file-${f}.txt`, file)
        }
      }
      return top
    }
    const layers = [await writer.addTree(tree(PACKAGES, FILES, 0o100644), { compression: 'none' })]
    for (const count of [5, 10, 20]) layers.push(await writer.addTree(tree(1, count, 0o100600)))
    const config = {
      architecture: 'amd64',
      os: 'linux',
      config: {},
      history: layers.map((_, i) => ({ created_by: `RUN ${i}` })),
    }
    await writer.addImage(config, layers.slice(0, 3), ['docker.io/library/bench:0'])
    await writer.addImage(config, layers, ['docker.io/library/bench:1'])
    makeContainer(layers.map(l => l.diffID))
  } finally {
    writer.close()
  }
}

/** A container at rest, as `create` leaves it and a run would have changed it. */
function makeContainer(layers: readonly string[]): void {
  const id = 'b'.repeat(64)
  const directory = join(root, 'containers', id)
  mkdirSync(join(directory, 'upper/usr/p7'), { recursive: true })
  mkdirSync(join(directory, 'work'))
  for (let i = 0; i < 9; i++) writeFileSync(join(directory, `upper/usr/p7/file-${i}.txt`), `changed ${i}`)
  writeFileSync(join(directory, 'upper/usr/p7/new'), 'new')
  const image = { kind: 'image', reference: 'bench:1', id: '', layers }
  writeFileSync(
    join(directory, 'container.json'),
    JSON.stringify({ id, name: 'web', created: '2026-01-01T00:00:00Z', root: image }),
  )
}
