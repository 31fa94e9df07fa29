import t from 'tap'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable, until } from './lamina.js'

t.setTimeout(900_000)
const skip = unable()

/** Names, types, modes, owners, sizes, mtimes and link targets of trees, and the contents of the small ones. */
function fingerprint(): string {
  const names = execFileSync(
    'sh',
    [
      '-c',
      "find /etc /usr/share/doc /usr/share/man /usr/games -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort | sha256sum",
    ],
    { encoding: 'utf8' },
  )
  const contents = execFileSync('sh', ['-c', 'find /etc -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum'], {
    encoding: 'utf8',
  })
  return names + contents
}

t.test('on a writable layer over this machine’s root', { skip, timeout: 900_000 }, async t => {
  const lamina = new Lamina()
  chmodSync(lamina.scratch, 0o755)
  t.teardown(() => lamina.close())

  t.test('what a process does to it stays in the layer, and the host is as it was', t => {
    const before = fingerprint()
    const script = [
      'apt-get install -y sl >/dev/null 2>&1 || touch /etc/x',
      'rm -rf /usr/share/doc',
      'echo hi >> /etc/hosts',
      'mv /usr/share/man /usr/share/man2',
      'chmod -R o+w /etc',
      'test ! -e /usr/share/doc && test -d /usr/share/man2/man1 && tail -1 /etc/hosts && stat -c %a /etc/passwd',
    ].join('; ')
    const r = lamina.do(['run', '--name', 'try', '--network', 'host', '--rootfs', '/', '--', 'sh', '-c', script])
    t.equal(r.code, 0, r.stderr)
    t.equal(r.stdout, 'hi\n646\n')
    t.equal(fingerprint(), before, 'names, contents, modes, owners and mtimes of the host are unchanged')
    const id = lamina.out('inspect', '-f', '{{.Id}}', 'try')
    const upper = join(lamina.root, 'containers', id, 'upper')
    t.match(readFileSync(join(upper, 'etc/hosts'), 'utf8'), /hi\n$/)
    t.equal(lamina.out('rm', 'try'), 'try')
    t.notOk(existsSync(upper), 'rm takes the layer away')
    t.end()
  })

  t.test('exit codes are the process’s own, and 125-127 say why it did not run', t => {
    const run = (...command: string[]) => lamina.do(['run', '--rm', '--rootfs', '/', ...command])
    t.equal(run('--', 'sh', '-c', 'exit 7').code, 7)
    t.match(run('--', 'no-such-command'), { code: 127, stderr: 'lamina: exec no-such-command: command not found\n' })
    t.match(run('--', '/etc/passwd'), { code: 126, stderr: 'lamina: exec /etc/passwd: permission denied\n' })
    t.equal(run('--init', '--', 'sh', '-c', 'kill -9 $$').code, 137, 'killed by a signal: 128 + its number')
    t.match(run('-u', 'nobody-here', '--', 'true'), { code: 125, stderr: /no user 'nobody-here'/ })
    t.match(run('-v', 'relative:path', '--', 'true'), { code: 125, stderr: /must be absolute/ })
    t.match(run('--mount', 'type=bind,source=/no/where,target=/x', '--', 'true'), {
      code: 125,
      stderr: /does not exist/,
    })
    t.match(lamina.do(['run', '--rootfs', '/no/where', '--', 'true']), { code: 125, stderr: /does not exist/ })
    t.same(lamina.out('ps', '-aq'), '', 'none of them left a container')
    t.end()
  })

  t.test('stdin, stdout and stderr are pipes of its own', t => {
    const r = lamina.do(
      ['run', '--rm', '-i', '--rootfs', '/', '--', 'sh', '-c', 'cat; echo out > /dev/stdout; echo err > /dev/stderr'],
      'in\n',
    )
    t.match(r, { code: 0, stdout: 'in\nout\n', stderr: 'err\n' })
    const user = ['run', '--rm', '-u', '1234:1234', '--rootfs', '/', '--', 'sh', '-c', 'echo x > /dev/stdout']
    t.match(lamina.do(user), { code: 0, stdout: 'x\n' }, 'for another user too')
    t.end()
  })

  t.test('environment, directory, user, volume', t => {
    const r = lamina.do([
      'run',
      '--rm',
      '-e',
      'A=1',
      '-w',
      '/usr/share',
      '-u',
      'games',
      '-h',
      'box',
      '-v',
      `${lamina.scratch}:/data:ro`,
      '--rootfs',
      '/',
      '--',
      'sh',
      '-c',
      'echo $A $HOSTNAME $HOME; pwd; id -un; hostname; touch /data/x 2>&1; ls -d /data/root',
    ])
    t.equal(r.code, 0, r.stderr)
    t.match(r.stdout, /^1 box \/usr\/games\n\/usr\/share\ngames\nbox\ntouch: .*Read-only file system\n\/data\/root\n$/)
    t.end()
  })

  t.test('a script without #! runs as a shell would run it', t => {
    const script = join(lamina.scratch, 'script')
    execFileSync('sh', ['-c', `printf 'echo "script $1"\\n' > ${script}; chmod +x ${script}`])
    const r = lamina.do(['run', '--rm', '-v', `${script}:/script`, '--rootfs', '/', '--', '/script', 'one'])
    t.match(r, { code: 0, stdout: 'script one\n' })
    t.end()
  })

  t.test('a terminal: its own devpts, controlling, with a size, and the exit code comes through', t => {
    const line = `exec ${process.execPath} dist/bin/lamina.js run -it --rm --rootfs / -- sh -c 'tty; test -c /dev/console; ps -o tty= -p 1; exit 9'`
    const r = spawnSync('script', ['-qec', line, '/dev/null'], { env: lamina.env, encoding: 'utf8', timeout: 200_000 })
    t.equal(r.status, 9, r.stdout + r.stderr)
    t.match(r.stdout, /\/dev\/pts\/0\r\npts\/0/)
    t.end()
  })

  t.test('kill -9 of the tool: the container ends with it, and the next command sweeps', async t => {
    const child = lamina.start([
      'run',
      '--name',
      'victim',
      '--rm',
      '--rootfs',
      '/',
      '--',
      'sh',
      '-c',
      'echo up; exec sleep 1000',
    ])
    await new Promise(resolve => child.stdout?.once('data', resolve))
    const [{ State }] = JSON.parse(lamina.out('inspect', 'victim')) as [{ State: { Pid: number } }]
    t.ok(existsSync(`/proc/${State.Pid}`))
    const cgroups = (): string[] =>
      spawnSync('find', ['/sys/fs/cgroup', '-path', '*lamina/*', '-type', 'd'], { encoding: 'utf8' })
        .stdout.split('\n')
        .filter(Boolean)
    const [id] = readdirSync(join(lamina.root, 'containers')).filter(n => n.length === 64)
    t.ok(
      cgroups().some(c => c.includes(id as string)),
      'it has cgroups',
    )
    child.kill('SIGKILL')
    t.ok(
      await until(
        () =>
          !existsSync(`/proc/${State.Pid}`) || /^State:\s+Z/m.test(readFileSync(`/proc/${State.Pid}/status`, 'latin1')),
      ),
      'its process is gone',
    )
    t.equal(lamina.out('ps', '-aq'), '', 'a --rm container is removed')
    t.notOk(
      cgroups().some(c => c.includes(id as string)),
      'with its cgroups',
    )
    t.same(
      readdirSync(join(lamina.root, 'containers')).filter(n => n.length === 64),
      [],
      'and its directory',
    )
    t.notMatch(readFileSync('/proc/self/mountinfo', 'latin1'), new RegExp(`lamina:${(id as string).slice(0, 12)}`))
  })
})
