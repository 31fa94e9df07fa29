import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readCounters } from '../../lib/mount/counters.js'
import { listMounts } from '../../lib/mount/registry.js'
import { unmountPath } from '../../lib/mount/unmount.js'
import { cannotMount, ended, workspace } from './workspace.js'

const options = { skip: cannotMount }

t.test('a mount answers when it is announced, is listed, counts requests, and leaves nothing', options, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'a'), 'lower')
  const record = await w.mount()
  t.equal(w.sh('cat $M/a; echo new > $M/b; echo more >> $M/a; cat $M/a'), 'lowerlowermore\n')
  t.equal(readFileSync(join(w.lower, 'a'), 'utf8'), 'lower')
  t.same(readdirSync(w.upper).sort(), ['a', 'b'])

  const [listed] = await listMounts(w.runRoot)
  t.match(listed, { id: record.id, pid: record.pid, mountpoint: w.point, state: 'serving', spec: w.spec })
  const before = readCounters(record.stats)
  t.ok((before['CREATE'] ?? 0) >= 1)
  t.equal(readlink(record.pid), '/', "the server's directory")

  await unmountPath(w.runRoot, w.point)
  await ended(record)
  t.same(await listMounts(w.runRoot), [])
  t.same(readdirSync(join(w.runRoot, 'mounts')), [])
  t.same(readdirSync(w.point), [])
})

function readlink(pid: number): string {
  return readFileSync(`/proc/${pid}/environ`, 'latin1') === '' ? '' : realCwd(pid)
}

function realCwd(pid: number): string {
  return statSync(`/proc/${pid}/cwd`).ino === statSync('/').ino ? '/' : 'elsewhere'
}

t.test('what was written is there again at the next mount', options, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'gone'), '')
  await w.mount()
  w.sh('mkdir $M/d; echo kept > $M/d/f; rm $M/gone')
  await unmountPath(w.runRoot, w.point)
  await w.mount()
  t.equal(w.sh('cat $M/d/f; ls $M'), 'kept\nd\n')
})

t.test('unmounting says so when it is in use; lazily, what is open is served to its end', options, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'x'.repeat(100_000))
  const record = await w.mount({ ...w.spec, passthrough: false })
  const holder = spawn('/bin/sh', ['-c', 'exec 3< $M/f; echo open; read wait; cat <&3 | wc -c'], {
    env: { ...process.env, M: w.point },
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  await t.rejects(unmountPath(w.runRoot, w.point), { code: 'IN_USE' })
  await unmountPath(w.runRoot, w.point, { lazy: true })
  t.same(readdirSync(w.point), [])
  t.ok(existsSync(`/proc/${record.pid}`), 'the server stays while a file is open')
  holder.stdin.end('\n')
  const [out] = (await once(holder.stdout, 'data')) as [Buffer]
  t.equal(out.toString(), '100000\n')
  await ended(record)
})

t.test('SIGTERM to the server unmounts and ends it', options, async t => {
  const w = workspace(t)
  const record = await w.mount()
  process.kill(record.pid, 'SIGTERM')
  await ended(record)
  t.same(await listMounts(w.runRoot), [])
})

t.test(
  'a server killed with -9 hangs nobody; the list says so; unmount cleans up; the upper is good',
  options,
  async t => {
    const w = workspace(t)
    writeFileSync(join(w.lower, 'seen'), '')
    const record = await w.mount()
    w.sh('echo kept > $M/new; stat $M/seen > /dev/null')
    process.kill(record.pid, 'SIGKILL')
    await ended(record)
    t.throws(() => w.sh('stat -f $M'), /not connected|connection abort/, 'statfs')
    t.throws(() => w.sh('cat $M/never-looked-at'), /not connected|connection abort/, 'what the kernel has not cached')
    t.match(await listMounts(w.runRoot), [{ id: record.id, state: 'dead' }])
    await t.rejects(w.mount(), { code: 'MOUNTPOINT_BUSY' })
    await unmountPath(w.runRoot, w.point)
    t.same(await listMounts(w.runRoot), [])
    await w.mount()
    t.equal(w.sh('cat $M/new; ls $M'), 'kept\nnew\nseen\n')
  },
)

t.test('what the kernel has not written yet is written when SIGTERM ends the server', options, async t => {
  const w = workspace(t)
  const record = await w.mount({ ...w.spec, passthrough: false })
  // With write-back the times of renamed and linked files are the kernel's to write, some time.
  w.sh('for i in $(seq 50); do echo $i > $M/f$i; ln $M/f$i $M/l$i; mv $M/f$i $M/g$i; done')
  const times = w.sh('stat -c %.Z $M/g50')
  process.kill(record.pid, 'SIGTERM')
  await ended(record)
  t.equal(w.sh('ls $U | wc -l'), '100\n')
  t.ok(Number(w.sh('stat -c %.Z $U/g50')) >= Number(times) - 1)
})

t.test('unmounting what is not mounted says so', options, async t => {
  const w = workspace(t)
  await t.rejects(unmountPath(w.runRoot, w.point), { code: 'NOT_MOUNTED' })
})
