import t, { type Test } from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable, until } from './lamina.js'
import { cable, makeNamespace } from './namespace.js'
import { ask, service } from './port-programs.js'

t.setTimeout(900_000)
const lacks = ['ip', 'nft', 'iptables', '/usr/bin/python3'].find(p => spawnSync(p, ['--version']).error !== undefined)
const skip = unable() || (lacks === undefined ? false : `${lacks} is not installed`)

for (const filter of ['nft', 'iptables'] as const)
  t.test(`published ports and the way out, by ${filter}`, { skip, timeout: 900_000 }, async t => {
    const [machine, outside] = [await makeNamespace(), await makeNamespace()]
    const lamina = new Lamina(machine.prefix)
    t.teardown(() => {
      lamina.close()
      machine.close()
      outside.close()
    })
    cable(machine, outside)
    if (filter === 'iptables') {
      // A machine without nft: a PATH on which there is all but that.
      const tools = join(lamina.scratch, 'tools')
      mkdirSync(tools)
      symlinkSync(['/usr/sbin/iptables', '/sbin/iptables'].find(p => existsSync(p)) ?? '', join(tools, 'iptables'))
      lamina.env['PATH'] = `${tools}:/usr/bin:/bin`
    }
    const python = '/usr/bin/python3'
    /** `closed` are those where nobody must listen: asked once. */
    const from = (place: typeof machine, words: string[], closed = ''): string[] =>
      place
        .sh(`${python} ${join(lamina.scratch, 'ask.py')} '${closed}' ${words.join(' ')}`)
        .trim()
        .split('\n')
    writeFileSync(join(lamina.scratch, 'ask.py'), ask)
    writeFileSync(join(lamina.scratch, 'service.py'), service)
    const bind = ['-v', `${lamina.scratch}:/test:ro`, '--rootfs', '/', '--']
    const services = ['9000/tcp', '9001/tcp', '9002/udp', '9003/udp', '9004/tcp', '9005/udp', '9006/tcp']
    const publish = ['-p', '7000-7001:9000-9001', '-p', '7002-7003:9002-9003/udp', '-p', '10.77.0.1:7004:9004']
    const exposed = ['-P', '--expose', '9005/udp', '--expose', '9006']
    const r = lamina.do([
      'run',
      '-d',
      '--name',
      'service',
      '--network',
      'bridge',
      ...publish,
      ...exposed,
      ...bind,
      python,
      '/test/service.py',
      'peers',
      ...services,
    ])
    t.match(r, { code: 0, stderr: '' })
    t.ok(await until(() => lamina.out('logs', 'service') === 'ready'))
    const list = new Map(
      lamina
        .out('port', 'service')
        .split('\n')
        .map(l => l.split(' -> ') as [string, string]),
    )
    t.match(
      [...list].filter(([inside]) => !/^900[56]/.test(inside)),
      [
        ['9000/tcp', '0.0.0.0:7000'],
        ['9001/tcp', '0.0.0.0:7001'],
        ['9002/udp', '0.0.0.0:7002'],
        ['9003/udp', '0.0.0.0:7003'],
        ['9004/tcp', '10.77.0.1:7004'],
      ],
    )
    const rules = machine.sh(filter === 'nft' ? 'nft list ruleset' : 'iptables -t nat -S')
    t.match(rules, filter === 'nft' ? /table ip lamina-lv/ : /-A PREROUTING .*--comment lamina -j DNAT/)

    const words = [...list].map(([inside, host]) => ({
      inside,
      port: `${host.split(':')[1]}/${inside.split('/')[1]}`,
      host,
    }))
    t.same(
      from(
        outside,
        words.map(w => `10.77.0.1:${w.port}`),
      ),
      words.map(w => `${w.inside} 10.77.0.2`),
      'other machines reach them all, and are seen by their own address',
    )
    const everywhere = words.filter(w => w.host.startsWith('0.0.0.0'))
    const local = from(
      machine,
      [...everywhere.map(w => `127.0.0.1:${w.port}`), '127.0.0.1:7004/tcp'],
      '127.0.0.1:7004/tcp',
    )
    t.same(
      local.slice(0, -1).map(answer => answer.split(' ')[0]),
      everywhere.map(w => w.inside),
      'from localhost too',
    )
    t.match(local.at(-1), /refused/, 'an address given is the only one')

    outside.start(python, join(lamina.scratch, 'service.py'), 'peers', '9100/tcp')
    const out = lamina.out('exec', 'service', python, '/test/ask.py', '', '10.77.0.2:9100/tcp')
    t.equal(out, '9100/tcp 10.77.0.1', 'the way out is by this machine’s address')

    if (filter === 'nft') await company(t, lamina, bind, python)
    lamina.out('rm', '-f', 'service')
    t.notMatch(machine.sh('ip -o link'), /l[mv][0-9a-f]{10}/, 'no link is left')
    t.notMatch(machine.sh(filter === 'nft' ? 'nft list ruleset' : 'iptables -t nat -S'), /lamina/, 'and no rule')
  })

/** Others on the network of `service`: found by name while they are there; ports that are taken. */
async function company(t: Test, lamina: Lamina, bind: string[], python: string): Promise<void> {
  const hosts = (name: string): string => lamina.out('exec', name, 'cat', '/etc/hosts')
  t.notMatch(hosts('service'), /late/)
  lamina.out(
    'run',
    '-d',
    '--name',
    'late',
    '--network',
    'bridge',
    '--network-alias',
    'too-late',
    ...bind,
    'sleep',
    '1000',
  )
  t.match(hosts('service'), /^10\.[\d.]+\tlate too-late /m, 'who comes later is known by name')
  t.match(hosts('late'), /^10\.[\d.]+\tservice/m)
  t.equal(
    lamina.out('exec', 'late', python, '/test/ask.py', '', 'service:9000/tcp').split(' ')[0],
    '9000/tcp',
    'and reached by it',
  )
  lamina.out('rm', '-f', 'late')
  t.notMatch(hosts('service'), /late/, 'and forgotten when gone')

  const taken = (...words: string[]) => lamina.do(['run', '--rm', '--network', 'bridge', ...words, ...bind, 'true'])
  t.match(taken('-p', '7000:1'), { code: 125, stderr: /^lamina: publish 0\.0\.0\.0:7000\/tcp: .*taken\n$/ })
  t.match(taken('-p', '7002:1/udp'), { code: 125, stderr: /^lamina: publish 0\.0\.0\.0:7002\/udp: .*taken\n$/ })
  t.match(taken('-p', '6999-7001:1-3'), { code: 125, stderr: /7000\/tcp: .*taken\n$/ })
  t.match(taken('-p', '6999:1'), { code: 0, stderr: '' }, 'the first of those was given back')
}
