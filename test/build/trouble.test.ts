/** Builds in trouble: full disks, kill -9, floods, daemons. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hierarchies } from '../../lib/runtime/cgroup/hierarchy.js'
import { shop, type Answer, type Shop } from './shop.js'
import { makeTinyBase } from './tiny-base.js'

const noRoot = process.getuid?.() !== 0 && 'needs root'
const noRuns = noRoot || (!existsSync('/dev/fuse') && 'needs /dev/fuse')

t.test('no space left: said so, and the next build goes on', { skip: noRoot }, async t => {
  const s = shop(t, { ctx: { Dockerfile: 'FROM scratch\nCOPY small /\nCOPY big /\n', small: 'small' }, full: {} })
  const ctx = join(s.dir, 'ctx')
  const full = join(s.dir, 'full')
  writeFileSync(join(ctx, 'big'), Buffer.alloc(24 << 20, 'x'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', full])
  try {
    const build = (): Promise<Answer> => s.lamina(['--root', join(full, 'store'), 'build', ctx])
    const failed = await build()
    t.equal(failed.code, 1)
    t.match(failed.err, /Dockerfile:3: no space left/)
    execFileSync('mount', ['-o', 'remount,size=128m', full])
    const again = await build()
    t.equal(again.code, 0, again.err)
    t.match(again.err, /COPY small \/\n#1 CACHED/)
  } finally {
    execFileSync('umount', ['-l', full])
  }
})

t.test('killed with -9 in the middle: the cache is good and nothing is left', async t => {
  const s = shop(t, { ctx: { Dockerfile: 'FROM scratch\nCOPY a /\nADD http://127.0.0.1:PORT/never /\n', a: 'a' } })
  const server = createServer(() => {}).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => server.close())
  const file = join(s.dir, 'ctx/Dockerfile')
  writeFileSync(file, readFileSync(file, 'utf8').replace('PORT', String((server.address() as AddressInfo).port)))
  const root = join(s.dir, 'store')
  const child = spawn(process.execPath, [join('dist/bin/lamina.js'), '--root', root, 'build', join(s.dir, 'ctx')])
  let err = ''
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const asked = new Promise(resolve => server.once('request', resolve))
  await asked
  const gone = new Promise(resolve => child.once('close', resolve))
  child.kill('SIGKILL')
  await gone
  server.closeAllConnections()
  t.match(err, /#1 DONE/)
  const next = await s.lamina(['build', '-f', '-', join(s.dir, 'ctx')], 'FROM scratch\nCOPY a /\n')
  t.match(next.err, /#1 CACHED/)
  t.strictSame(readdirSync(join(root, 'tmp')), [], 'what the killed one had under way is swept')
})

/** A store with the image `tiny`, and `lamina` as a process of its own. */
async function withTiny(t: Test): Promise<Shop & { ctx: string; spawn(args: readonly string[]): Running }> {
  const s = shop(t, { base: {}, ctx: {} })
  makeTinyBase(join(s.dir, 'base'))
  const built = await s.lamina(['build', '-q', '-t', 'tiny', '-f', '-', join(s.dir, 'base')], TINY)
  if (built.code !== 0) throw new Error(built.err)
  const root = join(s.dir, 'store')
  return { ...s, ctx: join(s.dir, 'ctx'), spawn: args => run(['dist/bin/lamina.js', '--root', root, ...args]) }
}

const TINY = 'FROM scratch\nCOPY . /\nENV PATH=/bin\n'

interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
  /** What it has written to stderr so far. */
  err(): string
  /** Resolves when stderr matches. */
  says(pattern: RegExp): Promise<void>
}

function run(args: readonly string[]): Running {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let err = ''
  let look = (): void => {}
  child.stderr.on('data', (chunk: Buffer) => {
    err = (err + chunk.toString('latin1')).slice(-1_000_000)
    look()
  })
  const ended = new Promise<number | null>(resolve => child.once('close', resolve))
  return {
    child,
    ended,
    err: () => err,
    says: pattern =>
      new Promise((resolve, reject) => {
        look = () => pattern.test(err) && resolve()
        look()
        void ended.then(() => reject(new Error(`it ended: ${err}`)))
      }),
  }
}

/** Directories of a build's cgroups, in all hierarchies. */
function cgroupsOf(pid: number): string[] {
  return hierarchies().flatMap(({ mountpoint }) => {
    const parent = join(mountpoint, 'lamina')
    if (!existsSync(parent)) return []
    return readdirSync(parent)
      .filter(name => name.startsWith(`build-${pid}-`))
      .map(name => join(parent, name))
  })
}

/** Resolves once `condition` holds; the runner's time limit ends a test in which it never does. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 50))
}

t.test(
  'kill -9 in the middle of a RUN: nothing runs or is mounted, the cache is good, the next build goes on',
  { skip: noRuns },
  async t => {
    const s = await withTiny(t)
    const file = join(s.ctx, 'Dockerfile')
    const text = (last: string): string =>
      `FROM tiny\nRUN echo one > /one\nRUN --mount=type=cache,target=/c,sharing=locked echo x >> /c/log; echo half > /half; ${last}\n`
    writeFileSync(file, text('echo started; sleep 100000'))
    const killed = s.spawn(['build', s.ctx])
    await killed.says(/ started$/m)
    const pid = killed.child.pid!
    const processes = cgroupsOf(pid).flatMap(dir =>
      readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean),
    )
    t.ok(processes.length > 0, 'the command runs in a cgroup of its own')
    killed.child.kill('SIGKILL')
    await killed.ended
    await until(() => processes.every(p => !existsSync(`/proc/${p}`)))
    t.pass('the command has ended with it')
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), s.dir, 'nothing is mounted')

    writeFileSync(file, text('cat /c/log > /seen'))
    const next = s.spawn(['build', '-t', 'next', s.ctx])
    t.equal(await next.ended, 0, next.err())
    t.match(next.err(), /RUN echo one > \/one\n#1 CACHED/)
    t.strictSame(cgroupsOf(pid), [], 'its cgroups are swept')
    t.strictSame(readdirSync(join(s.dir, 'store/tmp')), [], 'and what it had under way')
    const leases = join(s.dir, 'store/networks/bridge.leases.json')
    t.strictSame(existsSync(leases) ? JSON.parse(readFileSync(leases, 'utf8')) : {}, {}, 'and its place on the network')
    t.equal((await s.lamina(['cat', 'next:/half'])).out, 'half\n')
    t.equal(
      (await s.lamina(['cat', 'next:/seen'])).out,
      'x\nx\n',
      'the cache directory was unlocked, with what was in it',
    )
    t.equal((await s.lamina(['fsck'])).code, 0)
  },
)

t.test('a RUN that floods its output is read to the end, and does not fill the memory', { skip: noRuns }, async t => {
  const s = await withTiny(t)
  // Without line ends and with.
  const flood = 'dd if=/dev/zero bs=1048576 count=48 2>/dev/null; seq 1000000; echo the end'
  writeFileSync(join(s.ctx, 'Dockerfile'), `FROM tiny\nRUN ${flood}\n`)
  const build = s.spawn(['build', '--network', 'none', s.ctx])
  let most = 0
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${build.child.pid}/status`, 'latin1')
      most = Math.max(most, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0))
    } catch {
      // It has ended.
    }
  }, 20)
  const code = await build.ended
  clearInterval(timer)
  t.equal(code, 0, build.err().slice(-1000))
  t.match(build.err(), / 1000000\n#1 [\d.]+ the end\n#1 DONE/)
  t.ok(most > 0 && most < 400 << 10, `${most} KiB at most`)
})

t.test('a RUN that fills the disk fails as a command does, and the next build goes on', { skip: noRuns }, async t => {
  const s = shop(t, { base: {}, ctx: {}, full: {} })
  makeTinyBase(join(s.dir, 'base'))
  const full = join(s.dir, 'full')
  const store = ['--root', join(full, 'store')]
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', full])
  try {
    const tiny = await s.lamina([...store, 'build', '-q', '-t', 'tiny', '-f', '-', join(s.dir, 'base')], TINY)
    t.equal(tiny.code, 0, tiny.err)
    const text = 'FROM tiny\nRUN echo one > /one\nRUN dd if=/dev/zero of=/large bs=1048576 count=100\n'
    const build = () => s.lamina([...store, 'build', '--network', 'none', '-f', '-', join(s.dir, 'ctx')], text)
    const failed = await build()
    t.equal(failed.code, 1)
    t.match(failed.err, /No space left on device/)
    t.match(failed.err, /-:3: run .*exit code 1/)
    execFileSync('mount', ['-o', 'remount,size=400m', full])
    const again = await build()
    t.equal(again.code, 0, again.err)
    t.match(again.err, /RUN echo one > \/one\n#1 CACHED/)
  } finally {
    execFileSync('umount', ['-l', full])
  }
})
