import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable, until } from './lamina.js'
import { login, NOBODY, unableToLogin } from './login.js'

t.setTimeout(900_000)

/** Answers connections and datagrams with the port they came to; or asks HOST:PORT/KIND and prints the answers. */
const answer = `
import selectors, socket, sys, time
def made(kind): return socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
if sys.argv[1] == 'ask':
    for word in sys.argv[2:]:
        where, kind = word.split('/')
        host, port = where.split(':')
        for attempt in range(200):
            try:
                k = made(kind)
                k.settimeout(20)
                k.connect((host, int(port)))
                if kind == 'udp': k.send(b'?')
                print(k.recv(100).decode())
                break
            except OSError as error:
                last = error
                time.sleep(0.1)
        else: print(last)
    sys.exit()
s = selectors.DefaultSelector()
for word in sys.argv[1:]:
    port, kind = word.split('/')
    k = made(kind)
    k.bind(('0.0.0.0', int(port)))
    if kind == 'tcp': k.listen()
    s.register(k, selectors.EVENT_READ, word)
print('ready', flush=True)
while True:
    for key, _ in s.select():
        if key.data.endswith('tcp'):
            c, peer = key.fileobj.accept()
            c.sendall(key.data.encode())
            c.close()
        else:
            _, peer = key.fileobj.recvfrom(100)
            key.fileobj.sendto(key.data.encode(), peer)
`

function unableHere(program?: string): string | false {
  if (unable() !== false || unableToLogin() !== false) return unable() || unableToLogin()
  const lacks = ['/usr/bin/newuidmap', '/usr/bin/python3', ...(program ? [`/usr/bin/${program}`] : [])].find(
    p => !existsSync(p),
  )
  return lacks === undefined ? false : `${lacks} is not installed`
}

for (const program of ['pasta', 'slirp4netns'])
  t.test(`an ordinary user's network, by ${program}`, { skip: unableHere(program) }, async t => {
    const user = await login({ ids: true, tun: true })
    const lamina = new Lamina(user.prefix)
    t.teardown(() => {
      lamina.close()
      user.close()
    })
    lamina.giveTo(NOBODY)
    // Which of the two it is is decided by which is there.
    const tools = join(lamina.scratch, 'tools')
    mkdirSync(tools)
    for (const tool of [program, 'newuidmap', 'newgidmap', 'nsenter', 'setpriv'])
      symlinkSync(`/usr/bin/${tool}`, join(tools, tool))
    lamina.env['PATH'] = tools
    writeFileSync(join(lamina.scratch, 'answer.py'), answer)
    const python = '/usr/bin/python3'
    const file = join(lamina.scratch, 'answer.py')
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
    const answers = user.place.sh(`${python} ${file} ask 127.0.0.1:7000/tcp 127.0.0.1:7001/udp 127.0.0.1:${free}/tcp`)
    t.equal(answers, '9000/tcp\n9001/udp\n9002/tcp\n', 'from localhost')
    t.equal(user.outside.sh(`${python} ${file} ask 10.77.0.1:7001/udp`), '9001/udp\n', 'and from another machine')
    user.outside.start(python, file, '9100/tcp')
    t.equal(lamina.out('exec', 'service', python, file, 'ask', '10.77.0.2:9100/tcp'), '9100/tcp', 'the way out')
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
    const user = await login({ ids: true, tun: false })
    const lamina = new Lamina(user.prefix)
    t.teardown(() => {
      lamina.close()
      user.close()
    })
    lamina.giveTo(NOBODY)
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
  const user = await login({ ids: false, tun: false })
  const lamina = new Lamina(user.prefix)
  t.teardown(() => {
    lamina.close()
    user.close()
  })
  lamina.giveTo(NOBODY)
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
