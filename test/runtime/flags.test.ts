/** Options of run whose effect is seen from inside, or by other containers: docker's less common ones. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hierarchies, withController } from '../../lib/runtime/cgroup/hierarchy.js'
import { Lamina, unable } from './lamina.js'

t.setTimeout(600_000)
const skip = unable()
const NONE = ['--network', 'none', '--rootfs', '/', '--']

t.test('--attach joins the named streams only', { skip }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const both = ['sh', '-c', 'echo out; echo err >&2; cat; exit 3']
  const run = (...words: string[]) => lamina.do(['run', '--rm', ...words, ...NONE, ...both], 'typed\n')
  t.match(run('-i'), { code: 3, stdout: 'out\ntyped\n', stderr: 'err\n' })
  t.match(run('-i', '-a', 'stdout', '-a', 'STDIN'), { code: 3, stdout: 'out\ntyped\n', stderr: '' })
  t.match(run('-a', 'stderr'), { code: 3, stdout: '', stderr: 'err\n' })
  t.match(
    run('-i', '-a', 'stdin'),
    { code: 3, stdout: /^[0-9a-f]{64}\n$/, stderr: '' },
    'the id, where nothing is seen',
  )
  t.match(run('-a', 'stdlog'), { code: 125, stderr: /--attach stdlog: is none of STDIN, STDOUT, STDERR\n$/ })
  t.match(run('-d', '-a', 'stdout'), { code: 125, stderr: /exclude each other/ })
  t.end()
})

t.test('--volumes-from gives the mounts of another container, at their places', { skip }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const host = mkdtempSync(join(tmpdir(), 'volumes-from-'))
  writeFileSync(join(host, 'file'), 'host\n')
  mkdirSync(join(host, 'own'))
  lamina.out(
    'create',
    '--name',
    'data',
    '-v',
    '/anonymous',
    '-v',
    'named:/named',
    '-v',
    `${host}:/bind`,
    ...NONE,
    'true',
  )
  const run = (from: string, script: string, ...more: string[]) =>
    lamina.do(['run', '--rm', '--volumes-from', from, ...more, ...NONE, 'sh', '-c', script])
  t.match(run('data', 'echo a > /anonymous/f; echo n > /named/f; cat /bind/file'), { code: 0, stdout: 'host\n' })
  t.match(run('data:ro', 'cat /anonymous/f /named/f; echo x > /named/f'), { stdout: 'a\nn\n', stderr: /Read-only/ })
  t.match(
    run('data', 'ls /bind', '-v', `${join(host, 'own')}:/bind`),
    { code: 0, stdout: '' },
    'what is asked for stays',
  )
  const volumes = () => readdirSync(join(lamina.root, 'volumes')).filter(n => n.length === 64)
  t.equal(volumes().length, 1, 'run --rm takes no volume away that another has')
  t.match(run('none', 'true'), { code: 125, stderr: 'lamina: no such container: none\n' })
  t.match(run('data:rx', 'true'), { code: 125, stderr: /--volumes-from data:rx: is not NAME\[:ro\|rw\]\n$/ })
  t.equal(lamina.out('inspect', '-f', '{{.HostConfig.VolumesFrom}}', 'data'), '<no value>')
  lamina.out('rm', '-v', 'data')
  t.equal(volumes().length, 0)
  t.end()
})

t.test('--volumes-from: a volume of the image gives way', { skip }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const context = join(lamina.scratch, 'context')
  mkdirSync(context)
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY Dockerfile /data/from-image\nVOLUME /data\n')
  t.equal(lamina.do(['build', '-q', '-t', 'v:1', context]).code, 0)
  lamina.out('create', '--name', 'one', 'v:1', '/x')
  const [one] = JSON.parse(lamina.out('inspect', 'one')) as [{ Mounts: { Name: string }[] }]
  lamina.out('create', '--name', 'two', '--volumes-from', 'one', 'v:1', '/x')
  const [two] = JSON.parse(lamina.out('inspect', 'two')) as [{ Mounts: { Name: string }[] }]
  t.equal(one.Mounts.length, 1)
  t.same(two.Mounts, one.Mounts)
  t.end()
})

t.test('--ip, --mac-address, --link', { skip: skip || (spawnSync('ip', ['-V']).error ? 'no ip' : false) }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const made = lamina.do(['network', 'create', '--subnet', '10.213.7.0/24', 'n'])
  t.equal(made.code, 0, made.stderr)
  const on = ['--network', 'n', '--rootfs', '/', '--']
  const mac = '02:00:00:aa:bb:cc'
  const first = lamina.do([
    'run',
    '-d',
    '--name',
    'db',
    '--ip',
    '10.213.7.77',
    '--mac-address',
    mac,
    ...on,
    'sleep',
    '99',
  ])
  if (/not permitted/.test(first.stderr)) {
    t.pass('bridges', { skip: first.stderr.trim() })
    t.end()
    return
  }
  t.equal(first.code, 0, first.stderr)
  t.equal(
    lamina.out('inspect', '-f', '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}}', 'db'),
    `10.213.7.77 ${mac}`,
  )
  t.match(lamina.out('exec', 'db', 'ip', 'link', 'show', 'eth0'), mac)
  const hosts = lamina.out('run', '--rm', '--link', 'db:store', ...on, 'cat', '/etc/hosts')
  t.match(hosts, /^10\.213\.7\.77\t(.* )?db( .*)? store$/m, 'by its name and the other')
  const bad = (...words: string[]) => lamina.do(['run', '--rm', '--name', 'bad', ...words, ...on, 'true'])
  t.match(bad('--ip', '10.213.7.77'), { code: 125, stderr: /--ip 10\.213\.7\.77: container db has it\n$/ })
  t.match(bad('--ip', '10.213.8.1'), { code: 125, stderr: /--ip 10\.213\.8\.1: is no host's in 10\.213\.7\.0\/24/ })
  t.match(bad('--ip', '10.213.7.1'), { code: 125, stderr: /is the gateway/ })
  t.match(bad('--ip', '10.213.7.255'), { code: 125, stderr: /is no host's/ })
  t.match(bad('--ip', '10.213.7'), { code: 125, stderr: /is no IPv4 address/ })
  t.match(bad('--mac-address', '01:00:00:00:00:01'), { code: 125, stderr: /is the address of a group/ })
  t.match(bad('--link', 'nobody'), { code: 125, stderr: 'lamina: no such container: nobody\n' })
  lamina.out('stop', '-t', '0', 'db')
  t.match(bad('--link', 'db'), { code: 125, stderr: /--link db: it does not run on network n\n$/ })
  t.match(lamina.do(['run', '--rm', '--ip', '1.2.3.4', ...NONE, 'true']), { code: 125, stderr: /--ip needs a network/ })
  lamina.out('rm', '-f', 'db')
  t.equal(lamina.out('network', 'inspect', '-f', '{{len .Containers}}', 'n'), '0', 'what failed left no address')
  lamina.out('network', 'rm', 'n')
  t.end()
})

t.test('--device-cgroup-rule, --blkio-weight-device, --annotation, --userns, -q', { skip }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const run = (words: string[], ...command: string[]) => lamina.do(['run', '--rm', ...words, ...NONE, ...command])
  // Major 10, minor 229 is /dev/fuse: nobody may open it unless it is given.
  const open = ['sh', '-c', 'mknod /dev/some c 10 229 && exec 3<>/dev/some && echo open']
  if (withController(hierarchies(), 'devices')?.version === 1) {
    t.match(run([], ...open), { stdout: '', stderr: /Operation not permitted/ })
    t.match(run(['--device-cgroup-rule', 'c 10:229 rwm'], ...open), { code: 0, stdout: 'open\n' })
    t.match(run(['--device-cgroup-rule', 'c 10:* rw'], ...open), { code: 0, stdout: 'open\n' })
  }
  t.match(run(['--device-cgroup-rule', 'x 1:1 r'], 'true'), {
    code: 125,
    stderr: /is not 'a\|b\|c MAJOR:MINOR rwm'\n$/,
  })
  t.match(run(['--blkio-weight-device', '/dev/null:100'], 'true'), { code: 125, stderr: /with a block device\n$/ })
  const disk = readdirSync('/sys/block').find(name => existsSync(`/dev/${name}`))
  if (disk !== undefined) {
    t.match(run(['--blkio-weight-device', `/dev/${disk}:5`], 'true'), {
      code: 125,
      stderr: /is no weight from 10 to 1000/,
    })
    const weighed = run(['--blkio-weight-device', `/dev/${disk}:100`], 'true')
    // The kernel has it only with the BFQ scheduler.
    t.match(
      weighed.code === 0 ? '' : weighed.stderr,
      /^$|--blkio-weight-device: (this kernel has no|the kernel refuses)/,
    )
  }
  lamina.out('create', '--name', 'noted', '--annotation', 'org.example=1', '--userns', 'host', '-q', ...NONE, 'true')
  t.equal(lamina.out('inspect', '-f', '{{index .HostConfig.Annotations "org.example"}}', 'noted'), '1')
  t.end()
})
