/**
 * `npm run bench`: measures Lamina and its peers side by side in one run, interleaved, correctness first.
 *
 *   npm run bench -- [--quick] [--only ROW,…] [--peers NAME,…] [--repeat N] [--seed N] [--dir DIR] [--json FILE] [--html FILE] [--requests]
 *
 * Every measurement is a line of JSON on standard output (and in --json FILE); at the end a table of medians, spreads and
 * ratios. Fresh directories each time, all removed at the end: deleting big trees in between makes later creates slow.
 * As root it drops the machine's caches between mounts for the cold rows.
 */
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { groups, type Bench, type Group } from './groups.js'
import { fullSizes, makeMaterial, quickSizes, type Material } from './material.js'
import { peers, usualPeers, type Mounted, type Peer, type Stack } from './peers.js'
import { chart, table, type Sample } from './report.js'
import { runClient } from './run-client.js'

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    only: { type: 'string' },
    peers: { type: 'string' },
    repeat: { type: 'string' },
    seed: { type: 'string' },
    dir: { type: 'string' },
    json: { type: 'string' },
    html: { type: 'string' },
    requests: { type: 'boolean' },
  },
})

const scratch = mkdtempSync(join(options.dir ?? tmpdir(), 'lamina-bench-'))
chmodSync(scratch, 0o755)
process.env['LAMINA_RUN'] = join(scratch, 'run')
const sizes = options.quick === true ? quickSizes : fullSizes
const repeat = Number(options.repeat ?? (options.quick === true ? 1 : 5))
const only = options.only?.split(',')
const chosen = groups.filter(
  group => only === undefined || only.includes(group.name) || group.rows.some(row => only.includes(row.id)),
)
const wanted = options.peers?.split(',') ?? usualPeers
const samples: Sample[] = []
const agreed = new Map<string, string>()
const mounts: Mounted[] = []
let stacks = 0

try {
  const present = choosePeers()
  note(`Linux ${release()}, Node ${process.version}, ${cpus().length} cores, ${scratch}`)
  const material = makeMaterial(scratch, sizes)
  await checkCorrectness(present, material)
  for (const group of chosen) await measure(group, present, material)
  const about = { kernel: release(), node: process.version, cores: cpus().length, quick: options.quick === true }
  const rows = chosen.flatMap(group => group.rows)
  process.stdout.write(`\n${table(samples, rows, about)}\n`)
  if (options.html !== undefined) writeFileSync(options.html, chart(samples, rows, about))
} finally {
  for (const mounted of mounts.toReversed()) await mounted.unmount().catch((error: unknown) => note(String(error)))
  rmSync(scratch, { recursive: true, force: true })
}

function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

function choosePeers(): Peer[] {
  const unknown = wanted.filter(name => !peers.some(peer => peer.name === name))
  if (unknown.length > 0)
    throw new Error(`no peer ${unknown.join(', ')}; there are ${peers.map(p => p.name).join(', ')}`)
  return peers.filter(peer => {
    if (!wanted.includes(peer.name)) return false
    const reason = peer.missing()
    if (reason !== undefined) note(`without ${peer.name}: ${reason}`)
    return reason === undefined
  })
}

function newStack(lowers: readonly string[]): Stack {
  const base = join(scratch, `stack${stacks++}`)
  const [upper, work, point, empty] = ['upper', 'work', 'point', 'empty'].map(name => join(base, name))
  if (upper === undefined || work === undefined || point === undefined || empty === undefined) throw new Error(base)
  for (const path of [upper, work, point, empty]) mkdirSync(path, { recursive: true })
  return { lowers: lowers.length > 0 ? lowers : [empty], upper, work, point }
}

function lowersOf(group: Pick<Group, 'lowers'>, material: Material): readonly string[] {
  switch (group.lowers) {
    case 'root':
      return material.root
    case 'flat':
      return [material.flat]
    case 'big':
      return [material.big]
    case 'none':
      return []
  }
}

/** Before anything is measured: every peer shows the same tree. */
async function checkCorrectness(present: readonly Peer[], material: Material): Promise<void> {
  let first: { peer: string; check: string } | undefined
  for (const peer of present) {
    const stack = newStack(material.root)
    const mounted = await peer.mount(stack)
    try {
      const { check } = await runClient('digest', { path: stack.point })
      first ??= { peer: peer.name, check }
      if (check !== first.check) throw new Error(`${peer.name} shows ${check}, ${first.peer} ${first.check}`)
    } finally {
      await mounted.unmount()
    }
  }
  note(`all show ${first?.check}`)
}

async function measure(group: Group, present: readonly Peer[], material: Material): Promise<void> {
  const able = present.filter(peer => !(group.without ?? []).includes(peer.name))
  for (let repetition = 0; repetition < repeat; repetition++) {
    // Another order each time, the same for the same seed.
    const order = able.toSorted((a, b) => rank(a.name, repetition) - rank(b.name, repetition))
    for (const peer of order) {
      const own: Mounted[] = []
      try {
        const values = await measureOnce(group, peer, material, own)
        for (const row of group.rows) {
          const value = values[row.id]
          if (value !== undefined)
            record({ group: group.name, row: row.id, peer: peer.name, repetition, value, unit: row.unit })
        }
      } finally {
        for (const mounted of own.toReversed()) {
          await mounted.unmount()
          mounts.splice(mounts.indexOf(mounted), 1)
        }
      }
    }
  }
}

async function measureOnce(
  group: Group,
  peer: Peer,
  material: Material,
  own: Mounted[],
): Promise<Readonly<Record<string, number>>> {
  const mount = async (stack: Stack): Promise<Mounted> => {
    const mounted = await peer.mount(stack)
    own.push(mounted)
    mounts.push(mounted)
    return mounted
  }
  const lowers = lowersOf(group, material)
  const all: Stack[] = [newStack(lowers)]
  const stack = all[0] as Stack
  const start = process.hrtime.bigint()
  await mount(stack)
  const mountSeconds = Number(process.hrtime.bigint() - start) / 1e9
  const bench: Bench = {
    material,
    peer,
    point: stack.point,
    get mounted() {
      return own[0] as Mounted
    },
    mountSeconds,
    async another() {
      const more = newStack(lowers)
      all.push(more)
      return { ...(await mount(more)), point: more.point }
    },
    async cold() {
      if (peer.name !== 'plain') {
        for (const mounted of own.splice(0)) {
          await mounted.unmount()
          mounts.splice(mounts.indexOf(mounted), 1)
        }
        for (const each of all) await mount(each)
      }
      writeFileSync('/proc/sys/vm/drop_caches', '3')
    },
    agree(row, check) {
      const known = agreed.get(`${group.name} ${row}`)
      if (known === undefined) agreed.set(`${group.name} ${row}`, check)
      else if (known !== check) throw new Error(`${row}: ${peer.name} found ${check}, others ${known}`)
    },
  }
  const values = await group.run(bench)
  const requests = own[0]?.requests()
  if (options.requests === true && requests !== undefined)
    note(`${group.name} ${peer.name} ${JSON.stringify(requests)}`)
  return values
}

function rank(name: string, repetition: number): number {
  let h = Number(options.seed ?? 1) + repetition * 7919
  for (const c of name) h = (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0
  return Math.imul(h ^ (h >>> 13), 0x5bd1e995) >>> 0
}

function record(sample: Sample): void {
  samples.push(sample)
  const line = `${JSON.stringify(sample)}\n`
  process.stdout.write(line)
  if (options.json !== undefined) appendFileSync(resolve(options.json), line)
}
