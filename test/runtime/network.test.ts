import t from 'tap'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { Lamina, unable, until } from './lamina.js'

t.setTimeout(900_000)
const skip = unable() || (spawnSync('ip', ['-V']).error !== undefined ? 'no ip command to look with' : false)

function get(port: number): Promise<string> {
  return new Promise(resolve => {
    const r = request({ host: '127.0.0.1', port, path: '/file', timeout: 20_000 }, answer => {
      let text = ''
      answer.on('data', (c: Buffer) => (text += c.toString()))
      answer.on('end', () => resolve(text))
    })
    r.on('error', error => resolve(error.message))
    r.end()
  })
}

t.test('networks', { skip, timeout: 900_000 }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const links = (): string[] =>
    [...spawnSync('ip', ['-o', 'link'], { encoding: 'utf8' }).stdout.matchAll(/: (l[mv][0-9a-f]{10})[:@]/g)].map(
      m => m[1] as string,
    )
  const serve = 'mkdir /tmp/s; echo "served by $HOSTNAME" > /tmp/s/file; exec python3 -m http.server 8000 -d /tmp/s'
  const first = lamina.do([
    'run',
    '-d',
    '--name',
    'web',
    '--network',
    'bridge',
    '-p',
    '127.0.0.1::8000',
    '--rootfs',
    '/',
    '--',
    'sh',
    '-c',
    serve,
  ])
  if (/not permitted|neither nft nor iptables|START_FAILED/.test(first.stderr)) {
    t.pass('bridges', { skip: first.stderr.trim() })
    return
  }
  t.equal(first.code, 0, first.stderr)
  const port = Number(lamina.out('port', 'web', '8000').split(':')[1])
  t.ok(port > 0, 'a free port was chosen')
  let text = ''
  for (let i = 0; i < 600 && !text.startsWith('served'); i++) {
    text = await get(port)
    await until(() => false, 0.1)
  }
  t.match(text, /^served by /, 'the host reaches it by the published port')

  const other = lamina.do([
    'run',
    '--rm',
    '--network',
    'bridge',
    '--rootfs',
    '/',
    '--',
    'sh',
    '-c',
    'curl -s http://web:8000/file; ip -4 -o addr show eth0 | tr -s " " | cut -d" " -f4; ip route | head -1',
  ])
  t.match(
    other.stdout,
    /^served by .*\n10\.\d+\.\d+\.3\/24\ndefault via 10\.\d+\.\d+\.1 dev eth0/,
    'another container finds it by name, and has an address of its own',
  )

  t.match(
    lamina.do(['run', '--rm', '-p', `127.0.0.1:${port}:1`, '--network', 'bridge', '--rootfs', '/', '--', 'true']),
    { code: 125, stderr: /already taken/ },
  )
  t.match(lamina.do(['run', '--rm', '--network', 'nowhere', '--rootfs', '/', '--', 'true']), {
    code: 125,
    stderr: /no such network/,
  })
  const joined = lamina.do([
    'run',
    '--rm',
    '--network',
    'container:web',
    '--rootfs',
    '/',
    '--',
    'curl',
    '-s',
    'http://127.0.0.1:8000/file',
  ])
  t.match(joined.stdout, /^served by /, 'and one may share its network')

  // Others on this machine may run this very test.
  const subnet = `10.${201 + (process.pid % 50)}.${(process.pid >> 6) % 256}`
  t.equal(lamina.out('network', 'create', '--subnet', `${subnet}.0/28`, '--internal', 'inner'), 'inner')
  t.match(lamina.do(['network', 'create', '--subnet', `${subnet}.0/24`, 'other']), { code: 1, stderr: /overlaps/ })
  t.equal(
    lamina.out(
      'run',
      '--rm',
      '--network',
      'inner',
      '--rootfs',
      '/',
      '--',
      'sh',
      '-c',
      'ip route | grep -c default; hostname -I',
    ),
    `0\n${subnet}.2`,
  )
  t.equal(lamina.out('network', 'rm', 'inner'), 'inner')
  t.match(lamina.do(['network', 'rm', 'bridge']), { code: 1 })

  const many = Array.from({ length: 6 }, (_, i) =>
    lamina.start(['run', '--rm', '--name', `n${i}`, '--network', 'bridge', '--rootfs', '/', '--', 'hostname', '-I']),
  )
  const addresses = await Promise.all(
    many.map(
      child =>
        new Promise<string>(resolve => {
          let out = ''
          child.stdout?.on('data', (c: Buffer) => (out += c.toString()))
          child.on('close', () => resolve(out.trim()))
        }),
    ),
  )
  t.ok(
    addresses.every(a => a.startsWith('10.')),
    'six at once all get an address',
  )

  const id = lamina.out('inspect', '-f', '{{.Id}}', 'web')
  t.ok(links().some(l => id.startsWith(l.slice(2))))
  const { link } = JSON.parse(readFileSync(join(lamina.root, 'networks/bridge.json'), 'utf8')) as { link: string }
  t.ok(links().includes(link), 'its bridge')
  lamina.out('rm', '-f', 'web')
  t.notOk(
    links().some(l => l === link || id.startsWith(l.slice(2))),
    'the last one takes bridge and links along',
  )
  t.notMatch(spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' }).stdout, new RegExp(`lamina-${link}`))
})
