/**
 * `npm run bench`: measures Lamina and its peers side by side in one run, interleaved, correctness first.
 *
 *   npm run bench -- [--quick] [--only ROW,…] [--space root|rootless] [--peers NAME,…] [--repeat N] [--seed N] [--dir DIR]
 *                    [--json FILE] [--html FILE] [--requests] [--from FILE,…]
 *
 * Every measurement is a line of JSON on standard output (and in --json FILE); at the end tables of medians, spreads, ratios
 * and verdicts. `--from` measures nothing and makes the same of what earlier runs have written.
 * Two spaces: as root, and all in a user namespace, where the program runs once more (`--inside`, rootless.ts).
 */
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { cpus, release, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { chart } from './chart.js'
import { groups } from './groups.js'
import { fullSizes, Material, quickSizes } from './material.js'
import { peers, usualPeers, type Peer } from './peers.js'
import { requestTable, tables } from './report.js'
import { askToDrop, runInside, tell } from './rootless.js'
import { Runner, textOf } from './runner.js'
import type { Sample } from './sample.js'

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    only: { type: 'string' },
    space: { type: 'string' },
    peers: { type: 'string' },
    repeat: { type: 'string' },
    seed: { type: 'string' },
    dir: { type: 'string' },
    json: { type: 'string' },
    html: { type: 'string' },
    requests: { type: 'boolean' },
    from: { type: 'string' },
    inside: { type: 'string' },
  },
})

const quick = options.quick === true
const only = options.only?.split(',')
const unknown = only?.filter(name => !groups.some(g => g.name === name || g.rows.some(row => row.id === name))) ?? []
if (unknown.length > 0)
  fail(
    `no row or group ${unknown.join(', ')}; there are\n${groups.map(g => `  ${g.name}: ${g.rows.map(r => r.id).join(' ')}`).join('\n')}`,
  )
const chosen = groups.filter(group =>
  only === undefined
    ? !(quick && group.long === true)
    : only.includes(group.name) || group.rows.some(row => only.includes(row.id)),
)
const wantedRows = new Set(
  chosen.flatMap(group =>
    group.rows
      .filter(row => only === undefined || only.includes(group.name) || only.includes(row.id))
      .map(row => row.id),
  ),
)
const spaces = options.space?.split(',') ?? (quick ? ['root'] : ['root', 'rootless'])
const samples: Sample[] = []

if (options.from !== undefined) {
  for (const file of options.from.split(','))
    for (const line of readFileSync(file, 'utf8').split('\n'))
      if (line.startsWith('{')) samples.push(JSON.parse(line) as Sample)
  report()
} else if (options.inside !== undefined) await inside(options.inside)
else await outside()

function fail(message: string): never {
  process.stderr.write(`bench: ${message}\n`)
  process.exit(2)
}

function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** What was measured is reported all the same. */
function fault(error: unknown): void {
  note(textOf(error))
  process.exitCode = 1
}

async function outside(): Promise<void> {
  const scratch = mkdtempSync(join(options.dir ?? tmpdir(), 'lamina-bench-'))
  chmodSync(scratch, 0o755)
  try {
    // See runner.ts; other filesystems than ext4 do not need it.
    execFileSync('chattr', ['+T', scratch], { stdio: 'ignore' })
  } catch {
    note(`${scratch}: cannot be given EXT4_TOPDIR_FL; deletions of one measurement may slow the creates of the next`)
  }
  process.on('SIGINT', () => process.exit(130))
  note(`Linux ${release()}, Node ${process.version}, ${cpus().length} cores, ${scratch}`)
  try {
    if (spaces.includes('root'))
      await measureAll('root', scratch, () => Promise.resolve(dropCaches()), record).catch(fault)
    if (spaces.includes('rootless')) {
      const args = process.argv.slice(2)
      await runInside([...args, '--inside', scratch], dropCaches, record).catch(fault)
    }
    report()
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function inside(scratch: string): Promise<void> {
  try {
    await measureAll('rootless', scratch, askToDrop, sample => {
      tell({ kind: 'sample', sample })
    })
  } catch (error) {
    tell({ kind: 'failed', message: textOf(error) })
  } finally {
    process.disconnect()
  }
}

async function measureAll(
  space: Sample['space'],
  scratch: string,
  drop: () => Promise<boolean>,
  take: (sample: Sample) => void,
): Promise<void> {
  process.env['LAMINA_RUN'] = join(scratch, `run-${space}`)
  const present = choosePeers(space)
  if (present.length === 0) return
  const runner = new Runner({
    scratch,
    space,
    material: new Material(scratch, quick ? quickSizes : fullSizes),
    peers: present,
    repeat: Number(options.repeat ?? (quick ? 1 : 5)),
    seed: Number(options.seed ?? 1),
    wants: row => wantedRows.has(row),
    record: take,
    note,
    dropCaches: drop,
  })
  try {
    for (const lowers of new Set(chosen.map(group => group.lowers)))
      if (lowers !== 'none') await runner.checkCorrectness(lowers)
    for (const group of chosen) await runner.measure(group)
  } finally {
    await runner.close()
  }
  if (runner.failures > 0) throw new Error(`${space}: ${runner.failures} measurements failed, see above`)
}

function choosePeers(space: Sample['space']): Peer[] {
  const wanted = options.peers?.split(',') ?? (quick ? usualPeers.filter(name => name !== 'plain') : usualPeers)
  const strangers = wanted.filter(name => !peers.some(peer => peer.name === name))
  if (strangers.length > 0) fail(`no peer ${strangers.join(', ')}; there are ${peers.map(p => p.name).join(', ')}`)
  return peers.filter(peer => {
    if (!wanted.includes(peer.name)) return false
    const reason = peer.missing()
    if (reason !== undefined) note(`${space}, without ${peer.name}: ${reason}`)
    return reason === undefined
  })
}

function dropCaches(): boolean {
  if (process.geteuid?.() !== 0) return false
  writeFileSync('/proc/sys/vm/drop_caches', '3')
  return true
}

function record(sample: Sample): void {
  samples.push(sample)
  const line = `${JSON.stringify(sample)}\n`
  process.stdout.write(line)
  if (options.json !== undefined) appendFileSync(resolve(options.json), line)
}

function report(): void {
  const about = { kernel: release(), node: process.version, cores: cpus().length, quick }
  const rows = groups.flatMap(group => group.rows)
  process.stdout.write(`\n${tables(samples, rows, about)}\n`)
  if (options.requests === true) process.stdout.write(`\n${requestTable(samples, rows)}\n`)
  if (options.html !== undefined) writeFileSync(resolve(options.html), chart(samples, rows, about))
}
