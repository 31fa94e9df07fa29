/** Owns the rows that run programs on a tree: chown, rm, tar, git, gcc, dpkg. */
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Bench, Group } from './row.js'

/** Seconds that `program` takes, counted for `row`. Throws when it fails. */
async function timed(b: Bench, row: string, program: string, ...args: readonly string[]): Promise<number> {
  return b.during(row, 1, async () => {
    const start = process.hrtime.bigint()
    await promisify(execFile)(program, args, { maxBuffer: 1 << 28 })
    return Number(process.hrtime.bigint() - start) / 1e9
  })
}

export const tree: Group = {
  name: 'tree',
  lowers: 'root',
  rows: [
    { id: 'chown-r', title: 'chown -R of the root', unit: 's' },
    { id: 'rm-rf', title: 'rm -rf of its usr', unit: 's' },
  ],
  async run(b) {
    const values: Record<string, number> = {}
    if (b.wants('chown-r')) values['chown-r'] = await timed(b, 'chown-r', 'chown', '-R', '1000:1000', b.point)
    // On a stack of its own: after the chown all of it would be in the upper.
    const { point } = b.wants('rm-rf', 'chown-r') && b.peer.name !== 'plain' ? await b.another() : b
    values['rm-rf'] = await timed(b, 'rm-rf', 'rm', '-rf', join(point, 'usr'))
    b.agree('rm-rf', readdirSync(point).sort().join(' '))
    return values
  },
}

export const programs: Group = {
  name: 'programs',
  lowers: 'root',
  rows: [
    { id: 'untar', title: 'untar a source tree', unit: 's' },
    { id: 'git-add', title: 'git add', unit: 's' },
    { id: 'git-status', title: 'git status', unit: 's' },
    { id: 'dpkg', title: 'dpkg -i', unit: 's' },
  ],
  async run(b) {
    const values: Record<string, number> = {}
    if (b.wants('untar', 'git-add', 'git-status')) {
      values['untar'] = await timed(b, 'untar', 'tar', '-C', b.point, '-xf', b.material.sourceTar)
      if (existsSync('/usr/bin/git')) await git(b, values)
    }
    if (b.wants('dpkg') && b.material.debs.length > 0) {
      mkdirSync(join(b.point, 'var/lib/dpkg/updates'), { recursive: true })
      mkdirSync(join(b.point, 'var/lib/dpkg/info'), { recursive: true })
      for (const name of ['status', 'available']) writeFileSync(join(b.point, 'var/lib/dpkg', name), '')
      const options = [`--root=${b.point}`, '--force-not-root', '-i']
      values['dpkg'] = await timed(b, 'dpkg', 'dpkg', ...options, ...b.material.debs)
    }
    return values
  },
}

async function git(b: Bench, values: Record<string, number>): Promise<void> {
  const source = join(b.point, 'source')
  const args = ['-C', source, '-c', 'core.fsync=none', '-c', 'user.name=b', '-c', 'user.email=b@localhost']
  const config = [...args, '-c', 'gc.auto=0', '-c', `safe.directory=${source}`]
  execFileSync('git', [...config, 'init', '-q'], { stdio: 'pipe' })
  values['git-add'] = await timed(b, 'git-add', 'git', ...config, 'add', '-A')
  if (!b.wants('git-status')) return
  execFileSync('git', [...config, 'commit', '-qm', 'all'], { stdio: 'pipe' })
  execFileSync('git', [...config, 'status'], { stdio: 'pipe' })
  values['git-status'] = await timed(b, 'git-status', 'git', ...config, 'status')
}

export const compile: Group = {
  name: 'compile',
  lowers: 'toolchain',
  rows: [
    { id: 'gcc', title: 'gcc runs, in the tree', unit: 's' },
    { id: 'compile', title: 'compile of a source tree, 4 at a time', unit: 's' },
  ],
  async run(b) {
    if (!existsSync(join(b.point, 'usr/bin/gcc'))) return {}
    execFileSync('tar', ['-C', b.point, '-xf', b.material.sourceTar])
    const { gccRuns } = b.material.sizes
    const files = Array.from({ length: gccRuns }, (_, i) => `/source/module${i % 40}/part${i % 7}/file${i}.c`)
    const gcc = async (file: string, object: string): Promise<void> => {
      const words = [b.point, '/usr/bin/gcc', '-O1', '-c', file, '-o', object]
      const child = spawn('chroot', words, { stdio: ['ignore', 'ignore', 'inherit'] })
      const [code] = (await once(child, 'exit')) as [number | null]
      if (code !== 0) throw new Error(`gcc ${file}: ${code}`)
    }
    const [first = ''] = files
    await gcc(first, '/warm.o')
    const seconds = async (row: string, work: () => Promise<void>): Promise<number> =>
      b.during(row, gccRuns, async () => {
        const start = process.hrtime.bigint()
        await work()
        return Number(process.hrtime.bigint() - start) / 1e9
      })
    const values: Record<string, number> = {}
    if (b.wants('gcc'))
      values['gcc'] = await seconds('gcc', async () => {
        for (const file of files) await gcc(file, `${file}.o`)
      })
    if (b.wants('compile'))
      values['compile'] = await seconds('compile', async () => {
        const left = [...files]
        const one = async (): Promise<void> => {
          for (let file = left.pop(); file !== undefined; file = left.pop()) await gcc(file, `${file}.2.o`)
        }
        await Promise.all([one(), one(), one(), one()])
      })
    b.agree('gcc', String(statSync(join(b.point, 'warm.o')).size))
    return values
  },
}
