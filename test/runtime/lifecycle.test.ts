import t from 'tap'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cgroup } from '../../lib/runtime/cgroup/cgroup.js'
import { Lamina, unable, until } from './lamina.js'

t.setTimeout(900_000)
const skip = unable()

t.test('the life of a container in the background', { skip, timeout: 900_000 }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const status = (name: string): string => lamina.out('inspect', '-f', '{{.State.Status}}', name)
  const loop = 'echo up; echo err >&2; trap "echo got; exit 3" TERM; while :; do sleep 0.05; done'

  t.test('run -d, ps, logs, exec, pause, rename, stop, start, wait, rm', async t => {
    const id = lamina.out('run', '-d', '--name', 'one', '-l', 'a=b', '--rootfs', '/', '--', 'sh', '-c', loop)
    t.match(id, /^[0-9a-f]{64}$/)
    t.ok(await until(() => lamina.do(['logs', 'one']).stdout === 'up\n'))
    t.match(lamina.do(['logs', 'one']), { stdout: 'up\n', stderr: 'err\n' }, 'stdout and stderr are kept apart')
    t.match(lamina.out('logs', '-t', '--tail', '1', 'one'), /^\d{4}-\d\d-\d\dT[\d:.]+Z (up|err)$|^$/)
    t.match(lamina.out('ps'), new RegExp(`${id.slice(0, 12)} .* Up .* one`))
    t.match(JSON.parse(lamina.out('ps', '--json', '--filter', 'label=a=b')), [{ Names: 'one', State: 'running' }])
    t.equal(lamina.out('ps', '-q', '--filter', 'label=a=c'), '')
    t.match(
      lamina.do(['exec', id.slice(0, 8), 'sh', '-c', 'cat /proc/1/comm; exit 6']),
      { code: 6, stdout: 'sh\n' },
      'by a prefix of the id',
    )
    t.match(
      lamina.do(
        [
          'exec',
          '-i',
          '-u',
          'games',
          '-w',
          '/usr',
          '-e',
          'X=1',
          'one',
          'sh',
          '-c',
          'read l; echo $l $X $(id -un) $PWD',
        ],
        'in\n',
      ),
      { stdout: 'in 1 games /usr\n' },
    )
    t.match(lamina.do(['exec', 'one', 'no-such']), { code: 127, stderr: /command not found/ })
    t.match(lamina.out('top', 'one'), / sh /)
    lamina.out('pause', 'one')
    t.equal(status('one'), 'paused')
    t.match(lamina.do(['pause', 'one']), { code: 1, stderr: /it is paused/ })
    t.match(lamina.do(['exec', 'one', 'true']), { code: 125, stderr: /^lamina: exec one: it is paused.*\n$/ })
    lamina.out('unpause', 'one')
    t.equal(status('one'), 'running')
    lamina.out('rename', 'one', 'two')
    t.match(lamina.do(['run', '--name', 'two', '--rootfs', '/', '--', 'true']), {
      code: 125,
      stderr: /name two: in use/,
    })
    t.match(lamina.do(['rm', 'two']), { code: 1, stderr: /it is running/ })
    lamina.out('stop', 'two')
    t.match(
      JSON.parse(lamina.out('inspect', 'two')),
      [{ State: { Status: 'exited', ExitCode: 3, Running: false } }],
      'its own answer to TERM',
    )
    t.match(lamina.out('logs', 'two'), /got/)
    lamina.out('start', 'two')
    t.equal(status('two'), 'running')
    lamina.out('pause', 'two')
    lamina.out('kill', 'two')
    t.equal(lamina.out('wait', 'two'), '137', 'one that is paused dies too')
    lamina.out('rm', 'two')
    t.match(lamina.do(['inspect', 'two']), { code: 1 })
    t.match(lamina.do(['stop', 'two']), { code: 1, stderr: /no such container: two/ })
    const actions = lamina
      .out('events', '--since', '5m', '--until', '0s', '--json')
      .split('\n')
      .map(l => (JSON.parse(l) as { action: string }).action)
    t.match(actions.join(' '), /^create start pause unpause die start pause die destroy$/)
    const template = '{{.Action}} {{index .Actor.Attributes "name"}}'
    const last = lamina.out('events', '--since', '5m', '--until', '0s', '--format', template).split('\n').at(-1)
    t.equal(last, 'destroy two')
    t.equal(lamina.out('network', 'ls', '--format', '{{.Name}} {{.Driver}}'), 'bridge bridge')
    lamina.out('volume', 'create', 'kept')
    t.equal(lamina.out('volume', 'ls', '--format', '{{.Name}} {{.Driver}}'), 'kept local')
    lamina.out('volume', 'rm', 'kept')
  })

  t.test('sizes, filters, and stats of those that do not run', async t => {
    const run = ['run', '-d', '--rootfs', '/', '--network']
    lamina.out(
      ...run,
      'none',
      '--name',
      'first',
      '-l',
      'a',
      '-l',
      'b=c',
      '--',
      'sh',
      '-c',
      'head -c 12000 /dev/zero > /x',
    )
    lamina.out('wait', 'first')
    lamina.out(...run, 'bridge', '--name', 'second', '-l', 'a', '-p', '127.0.0.1::80', '--', 'sleep', '1000')
    lamina.out(...run, 'none', '--name', 'third', '--expose', '90-95', '--expose', '53/udp', '--', 'sleep', '1000')
    t.match(lamina.out('ps', '-as', '--filter', 'name=first'), / SIZE\n.* 12kB \(virtual 12kB\)$/)
    t.equal(lamina.out('container', 'ls', '-l', '--format', '{{.Names}} {{.Size}}'), 'third 0B (virtual 0B)')
    t.notMatch(lamina.out('ps'), /SIZE/)
    t.match(JSON.parse(lamina.out('inspect', '-s', 'first')), [{ SizeRw: 12000, SizeRootFs: 12000 }])
    t.notOk('SizeRw' in (JSON.parse(lamina.out('inspect', 'first')) as object[])[0]!)
    const [hostPort = ''] = lamina.out('port', 'second', '80').split(':').slice(-1)
    for (const [filters, expected] of [
      [['before=second'], 'first'],
      [['since=first'], 'third second'],
      [['since=first', 'before=third'], 'second'],
      [[`publish=${hostPort}`], 'second'],
      [[`publish=${hostPort}/udp`], ''],
      [['publish=1-65535'], 'second'],
      [['publish=80'], ''],
      [['expose=80'], 'second'],
      [['expose=93/tcp'], 'third'],
      [['expose=53'], ''],
      [['expose=53/udp', 'expose=80'], 'third second'],
      [['label=a', 'label=b'], 'first'],
      [['label=b=d'], ''],
    ] as const) {
      const words = filters.flatMap(f => ['-f', f])
      const shown = lamina.out('ps', '-a', '--format', '{{.Names}}', ...words)
      t.equal(shown.split('\n').join(' '), expected, filters.join(' '))
    }
    for (const [filter, stderr] of [
      ['before=ghost', /no such container: ghost/],
      ['publish=http', /is no port/],
      ['nonsense=1', /is none of id, name/],
    ] as const)
      t.match(lamina.do(['ps', '-f', filter]), { code: /1|2/, stderr }, filter)
    const stats = (...words: string[]): { Name: string }[] =>
      JSON.parse(lamina.out('stats', '--no-stream', '--json', ...words)) as { Name: string }[]
    t.same(
      stats().map(s => s.Name),
      ['second', 'third'],
    )
    t.match(stats('-a'), [
      { Name: 'first', CPUPerc: '0.00%', PIDs: '0', MemUsage: '0B / 0B', MemPerc: '0.00%' },
      { Name: 'second', PIDs: '1' },
      { Name: 'third', PIDs: '1' },
    ])
    t.match(lamina.do(['stats', '--no-stream', 'first']), { code: 1, stderr: /it is not running/ })
    t.equal(stats('-a', 'first').length, 1)
    lamina.out('rm', '-f', 'first', 'second', 'third')
  })

  t.test('commit freezes a running container while it reads', async t => {
    // No hexadecimal name: a filter also finds the beginning of an id.
    // Large enough that a commit of it takes a while.
    const script = 'head -c 60000000 /dev/urandom > /big; echo up; exec sleep 1000'
    lamina.out('run', '-d', '--name', 'writer', '--network', 'none', '--rootfs', '/', '--', 'sh', '-c', script)
    t.ok(await until(() => lamina.do(['logs', 'writer']).stdout === 'up\n'))
    const actions = (): string =>
      lamina
        .out('events', '--since', '1h', '--until', '0s', '--filter', 'container=writer', '--format', '{{.Action}}')
        .replaceAll('\n', ' ')
    const [c] = JSON.parse(lamina.out('inspect', 'writer')) as [{ Id: string }]
    const { cgroup } = JSON.parse(readFileSync(join(lamina.root, 'containers', c.Id, 'state.json'), 'utf8')) as {
      cgroup: string
    }
    const { file, stop, go } = Cgroup.at(cgroup).freezer()
    const word = (): string => readFileSync(file, 'utf8').trim()
    /** Whether it was seen frozen while a commit with these options ran. */
    const seenFrozen = async (...options: string[]): Promise<boolean> => {
      const child = lamina.start(['commit', ...options, 'writer', 'c:1'])
      let seen = false
      const closed = once(child, 'close')
      const watch = setInterval(() => (seen ||= word() === stop), 2)
      t.equal((await closed)[0], 0)
      clearInterval(watch)
      return seen
    }
    t.ok(await seenFrozen())
    t.equal(word(), go)
    t.equal(status('writer'), 'running')
    t.equal(actions(), 'create start pause unpause')
    t.notOk(await seenFrozen('--no-pause'))
    t.notOk(await seenFrozen('--pause=false'))
    t.equal(actions(), 'create start pause unpause', 'without, nothing happens to it')
    t.match(lamina.do(['commit', '-c', 'NONSENSE', 'writer']), { code: 3, stderr: /NONSENSE/ })
    t.equal(word(), go, 'a commit that fails lets it go on')
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      const child = lamina.start(['commit', 'writer', 'c:2'])
      const closed = once(child, 'close')
      t.ok(await until(() => word() === stop || child.exitCode !== null), signal)
      child.kill(signal)
      await closed
      t.ok(await until(() => word() === go, 10), `${signal}: it goes on`)
    }
    lamina.out('pause', 'writer')
    lamina.out('commit', 'writer', 'c:1')
    t.equal(status('writer'), 'paused', 'one that was paused before stays so')
    lamina.out('rm', '-f', 'writer')
    lamina.out('prune', '-fa')
  })

  t.test('attach gets what is written from then on, and the exit code', async t => {
    lamina.out('run', '-d', '-i', '--name', 'a', '--rootfs', '/', '--', 'sh', '-c', 'read x; echo "read $x"; exit 8')
    const r = lamina.do(['attach', 'a'], 'hello\n')
    t.match(r, { code: 8, stdout: 'read hello\n' })
    lamina.out('rm', 'a')
  })

  t.test('restart policy: again and again, a stop ends it', async t => {
    lamina.out(
      'run',
      '-d',
      '--name',
      'r',
      '--restart',
      'on-failure:2',
      '--rootfs',
      '/',
      '--',
      'sh',
      '-c',
      'echo x; exit 5',
    )
    t.ok(await until(() => status('r') === 'exited', 15))
    t.equal(lamina.out('logs', 'r'), 'x\nx\nx')
    t.equal(lamina.out('inspect', '-f', '{{.RestartCount}} {{.State.ExitCode}}', 'r'), '2 5')
    lamina.out('rm', 'r')
    lamina.out('run', '-d', '--name', 'r', '--restart', 'always', '--rootfs', '/', '--', 'sleep', '1000')
    lamina.out('stop', '-t', '0', 'r')
    t.equal(status('r'), 'exited')
    lamina.out('rm', 'r')
  })

  t.test('a supervisor killed with -9: its container ends, and the next command says so', async t => {
    lamina.out('run', '-d', '--name', 'k', '--rootfs', '/', '--', 'sleep', '1000')
    const [c] = JSON.parse(lamina.out('inspect', 'k')) as [{ Id: string; State: { Pid: number } }]
    const { supervisor, cgroup } = JSON.parse(
      readFileSync(join(lamina.root, 'containers', c.Id, 'state.json'), 'utf8'),
    ) as { supervisor: number; cgroup: string }
    process.kill(supervisor, 'SIGKILL')
    t.match(JSON.parse(lamina.out('inspect', 'k')), [{ State: { Status: 'exited', ExitCode: 137 } }])
    t.notOk(existsSync(`/proc/${c.State.Pid}/exe`), 'its process is gone')
    const left = spawnSync('find', ['/sys/fs/cgroup', '-path', `*${cgroup}`], { encoding: 'utf8' }).stdout
    t.equal(left, '', 'its cgroups are gone')
    lamina.out('start', 'k')
    t.equal(status('k'), 'running', 'and it can start again')
    lamina.out('rm', '-f', 'k')
  })

  t.test('after a reboot: stopped containers, not ghosts', t => {
    lamina.out('create', '--name', 'g', '--rootfs', '/', '--', 'true')
    const id = lamina.out('inspect', '-f', '{{.Id}}', 'g')
    const file = join(lamina.root, 'containers', id, 'state.json')
    const state = JSON.parse(readFileSync(file, 'utf8')) as object
    writeFileSync(
      file,
      JSON.stringify({
        ...state,
        status: 'running',
        pid: 1,
        supervisor: 1,
        boot: 'another boot',
        startedAt: new Date().toISOString(),
      }),
    )
    t.equal(status('g'), 'exited')
    lamina.out('rm', 'g')
    t.end()
  })

  t.test('log rotation keeps what it shall', t => {
    const args = ['run', '--name', 'l', '--log-opt', 'max-size=1k', '--log-opt', 'max-file=2', '--rootfs', '/']
    lamina.do([...args, '--', 'sh', '-c', 'for i in $(seq 100); do echo line $i; done'])
    const id = lamina.out('inspect', '-f', '{{.Id}}', 'l')
    const files = readdirSync(join(lamina.root, 'containers', id)).filter(f => f.startsWith('log'))
    t.same(files.sort(), ['log', 'log.1'])
    t.match(lamina.out('logs', 'l'), /line 100$/)
    t.equal(lamina.out('logs', '--tail', '2', 'l'), 'line 99\nline 100')
    lamina.out('rm', 'l')
    t.end()
  })

  t.test('memory: killed when it takes more, 137 and OOMKilled', t => {
    const args = ['run', '--name', 'm', '--memory', '64m', '--rootfs', '/', '--']
    const r = lamina.do([...args, 'python3', '-c', 'x = bytearray(200 << 20); print(len(x))'])
    t.equal(r.code, 137, r.stdout + r.stderr)
    t.equal(lamina.out('inspect', '-f', '{{.State.OOMKilled}}', 'm'), 'true')
    lamina.out('rm', 'm')
    t.match(lamina.do(['run', '--memory', '1k', '--rootfs', '/', '--', 'true']), { code: 125, stderr: /at least 6m/ })
    t.equal(lamina.out('ps', '-aq', '--filter', 'name=^m$'), '')
    t.end()
  })

  t.test('pids: a fork bomb meets its limit; update changes it live', async t => {
    const bomb =
      'import os,time\nn=0\ntry:\n  while n<200:\n    if os.fork()==0: time.sleep(3); os._exit(0)\n    n+=1\nexcept OSError: pass\nprint(n)'
    const r = lamina.do(['run', '--rm', '--pids-limit', '32', '--rootfs', '/', '--', 'python3', '-c', bomb])
    t.match(r, { code: 0, stdout: '31\n' })
    lamina.out('run', '-d', '--name', 'p', '--pids-limit', '32', '--rootfs', '/', '--', 'sleep', '100')
    lamina.out('update', '--pids-limit', '64', '--memory', '100m', 'p')
    const views = JSON.parse(lamina.out('stats', '--no-stream', '--json', 'p')) as object[]
    t.match(views, [{ Name: 'p', PIDs: '1', MemUsage: /\/ 105MB$/ }])
    lamina.out('rm', '-f', 'p')
  })
})
