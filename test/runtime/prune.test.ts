/** What the prune verbs take, and what they must leave: each kind of thing in use and not, made by the command line. */
import t from 'tap'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable } from './lamina.js'

t.setTimeout(900_000)
const skip = unable()

t.test('containers, networks and volumes that nothing needs', { skip, timeout: 900_000 }, async t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const on = ['--network', 'none', '--rootfs', '/']
  const volumes = (): string[] => lamina.out('volume', 'ls', '-q').split('\n').filter(Boolean)
  const names = (): string[] => lamina.out('ps', '-a', '--format', '{{.Names}}').split('\n').filter(Boolean).sort()
  const networks = (): string[] => lamina.out('network', 'ls', '-q').split('\n')
  const setUp = (): void => {
    lamina.out('run', '-d', '--name', 'runs', '-v', '/anonymous', '-v', 'mine:/mine', ...on, '--', 'sleep', '1000')
    lamina.out('run', '--name', 'ended', '-l', 'keep=me', ...on, '--', 'sh', '-c', 'head -c 50000 /dev/zero > /x')
    lamina.out('create', '--name', 'made', '--network', 'kept', '--rootfs', '/', '--', 'true')
  }
  lamina.out('network', 'create', '--label', 'a=b', 'kept')
  lamina.out('network', 'create', '--label', 'a=c', 'free')
  setUp()

  t.test('container prune', async t => {
    t.equal(
      lamina.out('container', 'prune', '-f', '--filter', 'until=1h'),
      'Total reclaimed space: 0B',
      'all are young',
    )
    const [made, ended] = ['made', 'ended'].map(n => lamina.out('inspect', '-f', '{{.Id}}', n)) as [string, string]
    t.equal(
      lamina.out('container', 'prune', '-f', '--filter', 'label!=keep').replace(/[\d.]+k?B$/, ''),
      `Deleted Containers:\n${made}\n\nTotal reclaimed space: `,
    )
    t.same(names(), ['ended', 'runs'])
    const said = lamina.out('container', 'prune', '--force', '--filter', 'label=keep=me')
    t.match(said, new RegExp(`^Deleted Containers:\n${ended}\n\nTotal reclaimed space: [56]\\d(\\.\\d+)?kB$`))
    t.same(names(), ['runs'])
    t.same(readdirSync(join(lamina.root, 'containers')).filter(n => n.length === 64).length, 1)
    t.match(lamina.do(['container', 'prune', '--filter', 'until=perhaps']), { code: /1|2/, stderr: /perhaps/ })
    lamina.out('rm', '-f', 'runs')
  })

  t.test('network prune', async t => {
    lamina.out('create', '--name', 'made', '--network', 'kept', '--rootfs', '/', '--', 'true')
    t.equal(lamina.out('network', 'prune', '-f', '--filter', 'label=a=b'), '')
    t.equal(lamina.out('network', 'prune', '-f'), 'Deleted Networks:\nfree', 'one that a container has stays')
    t.same(networks(), ['bridge', 'kept'])
    lamina.out('rm', 'made')
    t.equal(lamina.out('network', 'prune', '-f', '--filter', 'until=1h'), '', 'too young')
    t.equal(lamina.out('network', 'prune', '-f'), 'Deleted Networks:\nkept')
    t.same(networks(), ['bridge'])
  })

  t.test('volume prune', async t => {
    t.equal(volumes().length, 2, 'rm without -v has left both')
    lamina.out('volume', 'create', '--label', 'a=b', 'labelled')
    const [anonymous = ''] = volumes().filter(v => v.length === 64)
    writeFileSync(join(lamina.root, 'volumes', anonymous, 'data', 'file'), Buffer.alloc(2000))
    lamina.out('create', '--name', 'user', '-v', `${anonymous}:/x`, ...on, '--', 'true')
    t.equal(lamina.out('volume', 'prune', '-f'), 'Total reclaimed space: 0B', 'a stopped container has it')
    lamina.out('rm', 'user')
    t.match(lamina.do(['volume', 'prune', '-f', '--filter', 'until=1h']), { code: /1|2/, stderr: /until: is none of/ })
    t.equal(
      lamina.out('volume', 'prune', '-f'),
      `Deleted Volumes:\n${anonymous}\n\nTotal reclaimed space: 2kB`,
      'one with a name of its own stays',
    )
    t.same(volumes(), ['labelled', 'mine'])
    t.equal(
      lamina.out('volume', 'prune', '-f', '-a', '--filter', 'label!=a'),
      'Deleted Volumes:\nmine\n\nTotal reclaimed space: 0B',
    )
    t.equal(lamina.out('volume', 'prune', '-fa'), 'Deleted Volumes:\nlabelled\n\nTotal reclaimed space: 0B')
  })

  t.test('system prune', async t => {
    lamina.out('network', 'create', 'kept')
    lamina.out('network', 'create', 'free')
    setUp()
    t.match(lamina.do(['system', 'prune', '-f', '--volumes', '--filter', 'until=1h']), {
      code: 2,
      stderr: /until= is not for --volumes/,
    })
    t.equal(lamina.out('system', 'prune', '-f', '--filter', 'until=1h'), 'Total reclaimed space: 0B')
    lamina.out('run', '--name', 'left', '-v', '/anonymous', ...on, '--', 'true')
    t.match(
      lamina.out('system', 'prune', '-f', '--volumes'),
      /^Deleted Containers:\n([0-9a-f]{64}\n){3}\nDeleted Networks:\nfree\nkept\n\nDeleted Volumes:\n[0-9a-f]{64}\n\nTotal/,
    )
    t.same(names(), ['runs'])
    t.same(networks(), ['bridge'])
    t.equal(volumes().length, 2, 'those of the running one')
    t.equal(lamina.out('exec', 'runs', 'echo', 'on'), 'on')
    lamina.out('rm', '-fv', 'runs')
    t.same(volumes(), ['mine'], 'a named volume never goes')
  })
})
