import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unable, until } from './lamina.js'
import { loggedIn, unableToLogin } from './login.js'
import { ask, service } from './port-programs.js'

t.setTimeout(900_000)

function unableHere(program?: string): string | false {
  if (unable() !== false || unableToLogin() !== false) return unable() || unableToLogin()
  const lacks = ['/usr/bin/newuidmap', '/usr/bin/python3', ...(program ? [`/usr/bin/${program}`] : [])].find(
    p => !existsSync(p),
  )
  return lacks === undefined ? false : `${lacks} is not installed`
}

for (const program of ['pasta', 'slirp4netns'])
  t.test(`an ordinary user's network, by ${program}`, { skip: unableHere(program) }, async t => {
    const { user, lamina } = await loggedIn(t, { ids: true, tun: true })
    // Which of the two it is is decided by which is there.
    const tools = join(lamina.scratch, 'tools')
    mkdirSync(tools)
    for (const tool of [program, 'newuidmap', 'newgidmap', 'nsenter', 'setpriv'])
      symlinkSync(`/usr/bin/${tool}`, join(tools, tool))
    lamina.env['PATH'] = tools
    const [file, asking] = ['service.py', 'ask.py'].map(name => join(lamina.scratch, name)) as [string, string]
    writeFileSync(file, service)
    writeFileSync(asking, ask)
    const python = '/usr/bin/python3'
    const publish = ['-p', '127.0.0.1:7000:9000', '-p', '7001:9001/udp', '-P', '--expose', '9002']
    const command = ['--rootfs', '/', '--', python, file, '9000/tcp', '9001/udp', '9002/tcp']
    const r = lamina.do(['run', '-d', '--name', 'service', '--network', 'bridge', ...publish, ...command])
    t.match(r, { code: 0, stderr: '' })
    t.ok(await until(() => lamina.do(['logs', 'service']).stdout === 'ready\n'))
    t.equal(
      lamina.out('inspect', '-f', '{{index .NetworkSettings.Networks "bridge" "IPAddress"}}', 'service') === '',
      false,
    )
    const [, free = ''] = lamina.out('port', 'service', '9002').split(':')
    const answers = user.place.sh(`${python} ${asking} '' 127.0.0.1:7000/tcp 127.0.0.1:7001/udp 127.0.0.1:${free}/tcp`)
    t.equal(answers, '9000/tcp\n9001/udp\n9002/tcp\n', 'from localhost')
    t.equal(user.outside.sh(`${python} ${asking} '' 10.77.0.1:7001/udp`), '9001/udp\n', 'and from another machine')
    user.outside.start(python, file, '9100/tcp')
    t.equal(lamina.out('exec', 'service', python, asking, '', '10.77.0.2:9100/tcp'), '9100/tcp', 'the way out')
    t.match(lamina.out('exec', 'service', 'cat', '/etc/resolv.conf'), /^nameserver (169\.254\.1\.1|10\.0\.2\.3)$/)
    t.match(lamina.out('exec', 'service', 'id', '-u'), '0')
    const { network, supervisor } = JSON.parse(
      readFileSync(
        join(lamina.root, 'containers', lamina.out('inspect', '-f', '{{.Id}}', 'service'), 'state.json'),
        'utf8',
      ),
    ) as { network: { helper: { pid: number } }; supervisor: number }
    const carries = (): boolean => existsSync(`/proc/${network.helper.pid}/exe`)
    t.ok(carries())
    process.kill(supervisor, 'SIGKILL')
    t.ok(await until(() => lamina.out('inspect', '-f', '{{.State.Status}}', 'service') === 'exited'))
    t.ok(await until(() => !carries()), 'a killed supervisor’s program is swept')
    lamina.out('start', 'service')
    lamina.out('stop', '-t', '0', 'service')
    t.notMatch(spawnSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).stdout, new RegExp(`${program}.*${lamina.run}`))
    lamina.out('rm', 'service')
  })

t.test(
  'an ordinary user without a program for it: the network is none, and he is told',
  { skip: unableHere() },
  async t => {
    const { lamina } = await loggedIn(t, { ids: true, tun: false })
    const links = ['--rootfs', '/', '--', 'sh', '-c', 'ls /sys/class/net; id -u']
    t.match(lamina.do(['run', '--rm', '--network', 'bridge', ...links]), {
      code: 0,
      stdout: 'lo\n0\n',
      stderr: /^lamina: warning: .*network is none: .*\n$/i,
    })
    t.match(lamina.do(['run', '--rm', '--network', 'slirp4netns', ...links]), {
      code: 125,
      stderr: /^lamina: network .*\n$/,
    })
    t.match(lamina.do(['run', '--rm', '--network', 'other', ...links]), {
      code: 125,
      stderr: /bridge, none or host only/,
    })
    const chown = 'touch /made; chown 1000:1000 /made && stat -c %u:%g /made; chown 70000 /made'
    t.match(lamina.do(['run', '--rm', '--rootfs', '/', '--', 'sh', '-c', chown]), {
      code: 1,
      stdout: '1000:1000\n',
      stderr: /Invalid argument/,
    })
    t.match(lamina.do(['run', '--rm', '--memory', '64m', '--rootfs', '/', '--', 'true']), {
      code: 0,
      stderr: /--memory is not applied: .*delegated to this user/,
    })
  },
)

t.test('an ordinary user with a single id', { skip: unableHere() }, async t => {
  const { lamina } = await loggedIn(t, { ids: false, tun: false })
  const r = lamina.do([
    'run',
    '--rm',
    '--rootfs',
    '/',
    '--',
    'sh',
    '-c',
    'id -u; cat /etc/shadow; touch /x; chown 5 /x; exit 4',
  ])
  t.match(r, { code: 4, stdout: '0\n', stderr: /no subordinate ids[^]*shadow: Permission denied[^]*chown/ })
  // Who could leave a group could pass where that group is kept out (user_namespaces(7)).
  const groups = 'cat /proc/self/setgroups; exec /usr/bin/python3 -c "import os; os.setgroups([])"'
  t.match(lamina.do(['run', '--rm', '--rootfs', '/', '--', 'sh', '-c', groups]), {
    code: 1,
    stdout: 'deny\n',
    stderr: /Operation not permitted/,
  })
})
