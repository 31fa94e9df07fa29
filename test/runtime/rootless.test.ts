import t from 'tap'
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { subordinate } from '../../lib/runtime/rootless.js'
import { Lamina, unable } from './lamina.js'

t.setTimeout(900_000)
const NOBODY = 65534

t.test('subordinate ids are found by name or number', t => {
  const dir = t.testdir({ subuid: 'root:1:2\nalice:100000:65536\n1005:300000:10\n' })
  t.same(subordinate(`${dir}/subuid`, 'alice', 1000), { first: 100000, count: 65536 })
  t.same(subordinate(`${dir}/subuid`, 'bob', 1005), { first: 300000, count: 10 })
  t.equal(subordinate(`${dir}/subuid`, 'carol', 7), undefined)
  t.equal(subordinate(`${dir}/none`, 'alice', 7), undefined)
  t.end()
})

const closed =
  unable() || ((statSync('/dev/fuse').mode & 0o006) !== 6 ? '/dev/fuse is not open to ordinary users here' : false)

t.test('an ordinary user with a single id', { skip: closed }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  chmodSync(lamina.scratch, 0o755)
  for (const dir of [lamina.root, lamina.run]) chownSync(dir, NOBODY, NOBODY)
  const bin = fileURLToPath(new URL('../../bin/lamina.js', import.meta.url))
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [bin, ...args], {
      uid: NOBODY,
      gid: NOBODY,
      env: lamina.env,
      encoding: 'utf8',
      timeout: 200_000,
    })
  const r = run('run', '--rm', '--rootfs', '/', '--', 'sh', '-c', 'id -u; touch /made; cat /etc/shadow; exit 4')
  if (/user namespace/.test(r.stderr)) {
    t.pass('user namespaces', { skip: r.stderr.trim() })
    t.end()
    return
  }
  t.equal(r.status, 4, r.stderr)
  t.equal(r.stdout, '0\n', 'root inside')
  t.match(r.stderr, /no subordinate ids/, 'what cannot be is said')
  t.match(r.stderr, /shadow: Permission denied/, 'and no file of the host opens for it')
  t.match(run('run', '--rm', '--memory', '64m', '--rootfs', '/', '--', 'true'), {
    status: 0,
    stderr: /--memory is not applied/,
  })
  t.end()
})
