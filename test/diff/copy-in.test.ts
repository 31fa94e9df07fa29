/** `lamina cp` into containers: at rest and running, and past symlinks that would lead out. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

const program = new URL('../../bin/lamina.js', import.meta.url).pathname
const skip = process.getuid?.() !== 0 ? 'needs root' : existsSync('/dev/fuse') ? false : 'no /dev/fuse'

t.test('cp into a container', { skip, timeout: 900_000 }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'lamina-copy-in-'))
  const store = join(dir, 'store')
  const lamina = (...args: string[]): { code: number | null; out: string; err: string } => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, '--root', store, ...args], {
      encoding: 'utf8',
      timeout: 200_000,
      cwd: dir,
    })
    return { code: status, out: stdout, err: stderr }
  }
  t.teardown(() => {
    lamina('rm', '-f', 'box')
    rmSync(dir, { recursive: true, force: true })
  })
  const script = `mkdir -p rootfs/etc rootfs/data outside from/sub; echo kept > outside/kept; echo 1 > from/f; chown 7:7 from/f
    chmod 4755 from/f; echo 2 > from/sub/g; ln -s f from/link; ln -s ${dir}/outside rootfs/out; ln -s ../../../../${dir}/outside/kept rootfs/kept
    ln -s data rootfs/into; echo old > rootfs/etc/old`
  execFileSync('bash', ['-ec', script], { cwd: dir })
  const made = lamina('create', '--rootfs', join(dir, 'rootfs'), '--name', 'box', '--network', 'none', '/none')
  t.equal(made.code, 0, made.err)
  const upper = join(
    store,
    'containers',
    readdirSync(join(store, 'containers')).find(n => /^[0-9a-f]{64}$/.test(n)) ?? '',
    'upper',
  )

  t.match(lamina('cp', 'from/f', 'box:/etc/old'), { code: 0, err: '' })
  t.equal(readFileSync(join(upper, 'etc/old'), 'utf8'), '1\n')
  t.equal(readFileSync(join(dir, 'rootfs/etc/old'), 'utf8'), 'old\n', 'what lies below stays')
  t.match(lamina('cp', './from', 'box:/into'), { code: 0, err: '' })
  t.same(
    readdirSync(join(upper, 'data/from')).sort(),
    ['f', 'link', 'sub'],
    'into the directory that the link leads to',
  )
  t.match(lamina('cp', './from/.', 'box:/data'), { code: 0, err: '' })
  t.equal(readFileSync(join(upper, 'data/sub/g'), 'utf8'), '2\n')
  t.match(lamina('cp', 'from', 'box:/fresh'), { code: 0, err: '' })
  t.match(lamina('diff', 'box').out, /A \/fresh\/sub\/g/)
  t.match(lamina('ls', '-n', 'box:/fresh').out, /-rwxr-xr-x 1 0 0 2 .* f\n/, "root's, and without its suid bit")
  t.match(lamina('cp', '-a', 'from/f', 'box:/etc/kept'), { code: 0 })
  t.match(lamina('ls', '-n', 'box:/etc').out, /-rwsr-xr-x 1 7 7 2 .* kept\n/)

  t.match(
    lamina('cp', 'from/f', 'box:/out/x').code,
    1,
    'an absolute link means the same path inside, where there is none',
  )
  t.match(lamina('cp', 'from/f', 'box:/kept'), { code: 0 })
  t.equal(readFileSync(join(dir, 'outside/kept'), 'utf8'), 'kept\n', 'a link that leads out was replaced, not followed')
  t.same(readdirSync(join(dir, 'outside')), ['kept'])
  t.match(lamina('cp', 'from', 'box:/etc/old').code, 1, 'no directory onto a file')
  t.match(lamina('cp', 'from/none', 'box:/').code, 1)
  t.match(lamina('cp', 'box:/etc/old', 'box:/etc/copy'), { code: 0, err: '' }, 'from a container into a container')
  t.equal(readFileSync(join(upper, 'etc/copy'), 'utf8'), '1\n')
  for (const [from, to] of [
    ['/etc', '/etc/inner'],
    ['/etc', '/'],
    ['/etc/.', '/etc'],
    ['/etc/old', '/etc'],
    ['/', '/etc/all'],
  ] as const)
    t.match(lamina('cp', `box:${from}`, `box:${to}`), { code: 2, err: /lies there itself/ }, `${from} to ${to}`)
  t.equal(readFileSync(join(upper, 'etc/old'), 'utf8'), '1\n')
  t.equal(lamina('cp', 'box:/etc/old', 'back').code, 0)
  t.equal(readFileSync(join(dir, 'back'), 'utf8'), '1\n', 'and out again')

  t.test('a tar on standard input, as it comes out on standard output', async t => {
    const pipe = (script: string): { status: number | null; stderr: string } =>
      spawnSync('bash', ['-euo', 'pipefail', '-c', script], {
        cwd: dir,
        encoding: 'utf8',
        env: { ...process.env, LAMINA: `${process.execPath} ${program} --root ${store}` },
      })
    execFileSync('bash', ['-ec', 'mkdir rootfs/kept-dir; chmod 750 rootfs/kept-dir; setfattr -n user.x -v y from/f'], {
      cwd: dir,
    })
    t.match(pipe('tar --xattrs -cz from | $LAMINA cp - box:/data'), { status: 0, stderr: '' })
    t.match(
      lamina('ls', '-n', 'box:/data/from').out,
      /-rwsr-xr-x 1 7 7 2 .* f\n/,
      'owners and modes are those of the tar',
    )
    t.equal(lamina('cp', '-a', 'box:/data/from', 'round').code, 0)
    t.equal(
      execFileSync('getfattr', ['--only-values', '-n', 'user.x', join(dir, 'round/f')], { encoding: 'utf8' }),
      'y',
    )
    t.match(pipe('$LAMINA cp box:/data/from - | $LAMINA cp - box:/etc'), { status: 0, stderr: '' })
    t.match(pipe('diff <($LAMINA cp box:/data/from - | tar t | sort) <($LAMINA cp box:/etc/from - | tar t | sort)'), {
      status: 0,
    })
    t.match(pipe('mkdir -p kept-dir/x; echo deep > kept-dir/x/f; tar c kept-dir/x/f | $LAMINA cp - box:/'), {
      status: 0,
      stderr: '',
    })
    t.match(lamina('ls', '-n', 'box:/').out, /drwxr-x--- .* kept-dir\n/, 'a directory that the tar only passes through')
    t.equal(lamina('cat', 'box:/kept-dir/x/f').out, 'deep\n')
    t.match(pipe('tar c from | $LAMINA cp - box:/nowhere'), { status: 1, stderr: /nowhere/ })
    t.match(pipe('tar cP --transform s,^from,../../escaped, from | $LAMINA cp - box:/data'), { status: 1 })
    t.notOk(existsSync(join(dir, 'escaped')) || existsSync(join(dir, '../escaped')))
    t.match(pipe('touch .wh.x; tar c .wh.x | $LAMINA cp - box:/data'), { status: 2, stderr: /deleted/ })
    t.match(pipe('echo no tar | $LAMINA cp - box:/data').status, 1)
    t.same(readdirSync(join(store, 'tmp')), [], 'nothing is left of it')
  })

  t.test('that runs', async t => {
    const run = lamina('run', '-d', '--rootfs', '/', '--name', 'live', '--network', 'none', 'sleep', '100000')
    t.teardown(() => lamina('rm', '-f', 'live'))
    t.equal(run.code, 0, run.err)
    t.match(lamina('cp', 'from/f', 'live:/tmp/copied-in'), { code: 0, err: '' })
    t.equal(lamina('exec', 'live', 'cat', '/tmp/copied-in').out, '1\n', 'its processes see it')
    t.notOk(existsSync('/tmp/copied-in'))
  })
})
