/** `lamina mount`, `unmount`, `mounts` as a user meets them. What a mount does is tested in test/mount and test/union. */
import t from 'tap'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { listMounts, type MountStatus } from '../../lib/mount/registry.js'
import { runRoot } from '../../lib/roots.js'
import { lamina } from './lamina.js'

function whyNot(): string | false {
  if (process.geteuid?.() !== 0) return 'not root'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
    return false
  } catch {
    return 'no /dev/fuse'
  }
}
const skip = whyNot()

/** A scratch of directories a (with file `f`), b, upper, work, mnt. */
function place(): (...names: string[]) => string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'm-')))
  for (const name of ['a', 'b', 'upper', 'work', 'mnt']) mkdirSync(join(root, name))
  writeFileSync(join(root, 'a/f'), 'from a\n')
  writeFileSync(join(root, 'b/f'), 'from b\n')
  writeFileSync(join(root, 'b/g'), 'from b\n')
  return (...names) => join(root, ...names)
}

/** Reading through the mount must not be done by a thread that serves it; the server is another process here. */
const ok = { code: 0, stdout: '', stderr: '' }

t.test('directories become one tree, changes go to the upper, and unmount gives it back', { skip }, async t => {
  const at = place()
  const layers = ['--lower', at('a'), '--lower', at('b'), '--upper', at('upper'), '--work', at('work')]
  t.strictSame(await lamina('mount', ...layers, at('mnt')), ok, 'says nothing when it works')
  t.equal(readFileSync(at('mnt/f'), 'utf8'), 'from a\n', 'the first lower is the topmost')
  t.equal(readFileSync(at('mnt/g'), 'utf8'), 'from b\n')
  writeFileSync(at('mnt/g'), 'changed\n')
  t.equal(readFileSync(at('b/g'), 'utf8'), 'from b\n', 'the lower is as it was')
  t.equal(readFileSync(at('upper/g'), 'utf8'), 'changed\n')

  const { stdout } = await lamina('mounts')
  t.match(stdout, /^ID +MOUNTPOINT +STATE +MODE +PID +MOUNTED +LAYERS\n/)
  t.match(stdout.split('\n').find(line => line.includes(at('mnt'))) ?? '', / serving +rw /)
  const listed = JSON.parse((await lamina('mounts', '--json', '--stats', at('mnt'))).stdout) as (MountStatus & {
    requests: Record<string, number>
  })[]
  t.match(listed, [{ mountpoint: at('mnt'), state: 'serving', requests: { INIT: 1 } }])
  t.match((await lamina('mounts', '--stats')).stdout, / 1 {2}init\n/)

  t.strictSame(await lamina('unmount', at('mnt')), ok)
  t.strictSame(await listMounts(runRoot()), [])
  t.notOk(existsSync(at('mnt/f')))
  t.strictSame(await lamina('mount', ...layers, at('mnt')), ok, 'the upper is free again')
  t.equal(readFileSync(at('mnt/g'), 'utf8'), 'changed\n')
  t.strictSame(await lamina('umount', at('mnt')), ok, 'umount is another word for it')
})

t.test('the overlay form says the same', { skip }, async t => {
  const at = place()
  mkdirSync(at('c:d,e'))
  writeFileSync(at('c:d,e/odd'), 'odd\n')
  const odd = at('c:d,e').replace(/([:,])/g, '\\$1')
  const options = `lowerdir=${odd}:${at('b')},upperdir=${at('upper')},workdir=${at('work')}`
  t.strictSame(await lamina('mount', '-o', options, at('mnt')), ok)
  t.equal(readFileSync(at('mnt/odd'), 'utf8'), 'odd\n')
  t.equal(readFileSync(at('mnt/f'), 'utf8'), 'from b\n')
  t.strictSame(await lamina('unmount', '--all'), ok)
})

t.test('without an upper, or with --read-only, nothing can be written', { skip }, async t => {
  const at = place()
  t.strictSame(await lamina('mount', '-l', at('a'), at('mnt')), ok)
  t.throws(() => writeFileSync(at('mnt/new'), ''), { code: 'EROFS' })
  t.match((await lamina('mounts')).stdout, / ro /)
  t.strictSame(await lamina('unmount', at('mnt')), ok)
  t.strictSame(await lamina('mount', '-l', at('a'), '-u', at('upper'), '-w', at('work'), '-r', at('mnt')), ok)
  t.throws(() => writeFileSync(at('mnt/new'), ''), { code: 'EROFS' })
  t.strictSame(await lamina('unmount', at('mnt')), ok)
})

t.test('a relative mount point through a symlink is found again', { skip }, async t => {
  const at = place()
  symlinkSync('mnt', at('link'))
  const run = (...argv: string[]) =>
    spawnSync(process.execPath, [resolve('dist/bin/lamina.js'), ...argv], { cwd: at('.'), encoding: 'utf8' })
  t.match(run('mount', '--lower', 'a', 'link'), { status: 0, stderr: '' })
  t.equal(readFileSync(at('link/f'), 'utf8'), 'from a\n')
  t.match(run('unmount', 'link'), { status: 0, stderr: '' })
})

t.test(
  'as people start it, the server is the process of the command, which lets go of all it was given',
  { skip },
  async t => {
    const at = place()
    symlinkSync(resolve('dist/bin/lamina'), at('lamina'))
    const run = (...argv: string[]) =>
      spawnSync(at('lamina'), argv, {
        cwd: at('.'),
        encoding: 'utf8',
        env: { ...process.env, NODE_OPTIONS: '--no-such' },
      })
    // spawnSync waits for the end of both pipes: the server holds neither.
    const layers = ['--lower', 'a', '--upper', 'upper', '--work', 'work']
    t.match(run('mount', ...layers, 'mnt'), { status: 0, stdout: '', stderr: '' })
    t.equal(readFileSync(at('mnt/f'), 'utf8'), 'from a\n')
    const [mount] = await listMounts(runRoot())
    const pid = mount?.pid ?? 0
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    t.equal(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3], String(pid), 'a session of its own')
    t.equal(readlinkSync(`/proc/${pid}/cwd`), '/')
    for (const fd of [0, 1, 2])
      t.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), fd === 0 ? '/dev/null' : mount?.log, `fd ${fd}`)
    t.notMatch(readFileSync(`/proc/${pid}/environ`, 'latin1'), 'NODE_OPTIONS')
    t.match(
      run('mount', ...layers, 'mnt'),
      { status: 1, stdout: '', stderr: /^lamina: mount .*\n$/ },
      'the upper is taken',
    )
    t.match(await lamina('unmount', at('mnt')), ok)
    t.ok(await gone(pid), 'it ends with the mount')
    const json = run('mount', '--json', ...layers, 'mnt')
    t.match(JSON.parse(json.stdout), { mountpoint: at('mnt') })
    t.match(await lamina('unmount', at('mnt')), ok)
    t.match(run('mount', '--nonsense'), { status: 2, stdout: '', stderr: /unknown option/ })
    t.match(run('mount', '--lower', 'missing', 'mnt'), {
      status: 1,
      stderr: /^lamina: mount lower .*no such directory\n$/,
    })
    t.equal((await listMounts(runRoot())).length, 0)
  },
)

/** Resolves when a process has ended; false when it does not. */
async function gone(pid: number): Promise<boolean> {
  for (let i = 0; i < 500 && existsSync(`/proc/${pid}`); i++) await new Promise(done => setTimeout(done, 20))
  return !existsSync(`/proc/${pid}`)
}

t.test('the script that starts it hands everything else on', t => {
  const run = (...argv: string[]) => spawnSync(resolve('dist/bin/lamina'), argv, { encoding: 'utf8' })
  t.match(run('--version'), { status: 0, stdout: /^lamina \d/ })
  t.match(run('mount', '--help'), { status: 0, stdout: /Usage: lamina mount/ })
  t.match(run('run', '--env-file', '/none', '--rootfs', '/', '--', 'x'), { status: 125, stderr: /--env-file/ })
  t.match(run(), { status: 2 })
  t.end()
})

t.test('--foreground serves until unmounted or interrupted', { skip }, async t => {
  for (const how of ['SIGINT', 'SIGTERM', 'unmount'] as const) {
    const at = place()
    const argv = [resolve('dist/bin/lamina.js'), 'mount', '-f', '--lower', at('a'), at('mnt')]
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'ignore', 'pipe'] })
    const exited = once(child, 'exit')
    const [line] = (await once(child.stderr, 'data')) as [Buffer]
    t.match(line.toString(), /^serving .*; Ctrl-C unmounts\n$/)
    t.equal(readFileSync(at('mnt/f'), 'utf8'), 'from a\n')
    if (how === 'unmount') t.strictSame(await lamina('unmount', at('mnt')), ok)
    else child.kill(how)
    t.strictSame(await exited, [0, null], how)
    t.notOk(existsSync(at('mnt/f')))
  }
})

t.test('a killed server is reported, and unmount cleans up', { skip }, async t => {
  const at = place()
  const layers = ['--lower', at('a'), '--upper', at('upper'), '--work', at('work')]
  await lamina('mount', ...layers, at('mnt'))
  writeFileSync(at('mnt/new'), 'kept\n')
  const [mount] = await listMounts(runRoot())
  process.kill(mount?.pid ?? 0, 'SIGKILL')
  for (let i = 0; i < 100 && (await listMounts(runRoot()))[0]?.state !== 'dead'; i++)
    await new Promise(r => setTimeout(r, 20))
  t.match((await lamina('mounts')).stdout, / dead /)
  const { code, stderr } = await lamina('mount', ...layers, at('mnt'))
  t.equal(code, 1)
  t.match(stderr, /^lamina: mount .*\n$/)
  t.strictSame(await lamina('unmount', at('mnt')), ok)
  t.strictSame(await lamina('mount', ...layers, at('mnt')), ok, 'the upper is good for the next mount')
  t.equal(readFileSync(at('mnt/new'), 'utf8'), 'kept\n')
  t.strictSame(await lamina('unmount', at('mnt')), ok)
})

t.test('bad input is one clear line, a documented exit code, and changes nothing', { skip }, async t => {
  const at = place()
  writeFileSync(at('file'), '')
  mkdirSync(at('upper/inside'))
  mkdirSync(at('other'))
  spawnSync('mount', ['-t', 'tmpfs', 'x', at('other')])
  t.teardown(() => spawnSync('umount', [at('other')]))
  mkdirSync(at('other/work'))
  const rw = ['--upper', at('upper'), '--work', at('work')]
  const held = place()
  await lamina('mount', '-l', held('a'), '-u', held('upper'), '-w', held('work'), held('mnt'))
  t.teardown(() => lamina('unmount', held('mnt')))

  const before = snapshot(at('.'))
  for (const [name, argv, code, line] of [
    ['no lower', [at('mnt')], 1, /^mount: give at least one lower/],
    ['missing lower', ['-l', at('none'), at('mnt')], 1, /none: no such directory$/],
    ['lower is a file', ['-l', at('file'), at('mnt')], 1, /file: not a directory$/],
    [
      'missing upper',
      ['-l', at('a'), '-u', at('none'), '-w', at('work'), at('mnt')],
      1,
      /upper .*none: no such directory$/,
    ],
    [
      'missing work',
      ['-l', at('a'), '-u', at('upper'), '-w', at('none'), at('mnt')],
      1,
      /work .*none: no such directory$/,
    ],
    ['upper without work', ['-l', at('a'), '-u', at('upper'), at('mnt')], 1, /a work directory is needed/],
    ['work without upper', ['-l', at('a'), '-w', at('work'), at('mnt')], 2, /--work is of no use without --upper/],
    ['work elsewhere', ['-l', at('a'), '-u', at('upper'), '-w', at('other/work'), at('mnt')], 1, /another filesystem/],
    [
      'work inside upper',
      ['-l', at('a'), '-u', at('upper'), '-w', at('upper/inside'), at('mnt')],
      1,
      /inside one another/,
    ],
    ['lower inside upper', ['-l', at('upper/inside'), ...rw, at('mnt')], 1, /inside the upper/],
    ['mount point inside its upper', ['-l', at('a'), ...rw, at('upper/inside')], 1, /inside its own upper/],
    ['missing mount point', ['-l', at('a'), at('nowhere')], 1, /nowhere: no such directory$/],
    ['mount point is a file', ['-l', at('a'), at('file')], 1, /file: not a directory$/],
    ['upper in use', ['-l', at('a'), '-u', held('upper'), '-w', held('work'), at('mnt')], 1, /another mount uses it$/],
    ['mount point busy', ['-l', at('a'), held('mnt')], 1, /mounted there already$/],
    ['unknown option', ['--lowr', at('a'), at('mnt')], 2, /unknown option '--lowr'; did you mean '--lower'\?/],
    ['unknown -o option', ['-o', `lowerdir=${at('a')},zap`, at('mnt')], 2, /unknown mount option 'zap'/],
    ['said twice', ['-l', at('a'), '-o', `lowerdir=${at('b')}`, at('mnt')], 2, /--lower and -o lowerdir say it twice/],
    ['no mount point', ['-l', at('a')], 2, /missing argument <mountpoint>/],
    ['an image and lowers', ['-l', at('a'), at('mnt'), at('mnt')], 2, /exclude each other/],
    ['empty lower', ['--lower=', at('mnt')], 2, /--lower needs a directory/],
  ] as const) {
    const { code: got, stdout, stderr } = await lamina('mount', ...argv)
    t.equal(got, code, `${name}: exit code`)
    t.equal(stdout, '', `${name}: nothing on stdout`)
    t.match(stderr, /^lamina: [^\n]+\n$/, `${name}: one line`)
    t.match(stderr.replace(/^lamina: /, '').replace(/( \(see .*)?\n$/, ''), line, `${name}: says why`)
  }
  t.same(snapshot(at('.')), before, 'the tree is as it was')
  t.strictSame(
    (await listMounts(runRoot())).map(m => m.mountpoint),
    [held('mnt')],
    'no other mount',
  )
})

t.test('unmount of what is not mounted or in use says so', { skip }, async t => {
  const at = place()
  const { code, stderr } = await lamina('unmount', at('mnt'))
  t.equal(code, 1)
  t.equal(stderr, `lamina: unmount ${at('mnt')}: lamina is not mounted there\n`)
  t.match(await lamina('mounts', at('mnt')), { code: 1, stderr: /: lamina is not mounted there\n$/ })
  t.match(await lamina('unmount'), { code: 2, stderr: /missing argument <mountpoint>/ })

  await lamina('mount', '-l', at('a'), at('mnt'))
  const holder = spawn('sleep', ['60'], { cwd: at('mnt') })
  await once(holder, 'spawn')
  t.match(await lamina('unmount', at('mnt')), { code: 1, stderr: /: it is in use\n$/ })
  t.strictSame(await lamina('unmount', '--lazy', at('mnt')), ok)
  holder.kill()
  await once(holder, 'exit')
})

t.test('without /dev/fuse it is exit code 3', { skip }, async t => {
  const at = place()
  mkdirSync(at('dev'))
  const program = [
    `mount -t tmpfs x ${at('dev')} && touch ${at('dev/null')} && mount --bind /dev/null ${at('dev/null')}`,
    `mount --move ${at('dev')} /dev`,
    `exec ${process.execPath} ${resolve('dist/bin/lamina.js')} mount -l ${at('a')} ${at('mnt')}`,
  ].join(' && ')
  const { status, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', program], { encoding: 'utf8' })
  t.equal(status, 3)
  t.match(stderr, /^lamina: mount: \/dev\/fuse: [^\n]+\n$/)
})

/** Names, types, modes, owners, mtimes and contents below a directory. */
function snapshot(directory: string): string {
  const listing = spawnSync('find', [directory, '-printf', '%P %y %m %U %G %T@ %s\n'], { encoding: 'utf8' }).stdout
  return listing.split('\n').sort().join('\n')
}
