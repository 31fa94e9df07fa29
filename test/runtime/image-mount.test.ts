import t from 'tap'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Lamina, unable } from './lamina.js'

t.setTimeout(170_000)

t.test('an image mounted into a container', { skip: unable(), timeout: 160_000 }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const tree = join(lamina.scratch, 'tree')
  mkdirSync(tree)
  writeFileSync(join(tree, 'file'), 'from the image\n')
  spawnSync('tar', ['-C', tree, '-cf', join(lamina.scratch, 'tree.tar'), '.'])
  lamina.out('import', join(lamina.scratch, 'tree.tar'), 'data:1')
  const mount = ['--mount', 'type=image,source=data:1,target=/data', '--rootfs', '/', '--']
  const r = lamina.do(['run', '--rm', ...mount, 'sh', '-c', 'cat /data/file; touch /data/x'])
  t.match(r, { code: 1, stdout: 'from the image\n', stderr: /Read-only file system/ })
  lamina.out('create', '--name', 'user', ...mount, 'cat', '/data/file')
  lamina.do(['rmi', 'data:1'])
  t.equal(lamina.out('start', '-a', 'user'), 'from the image', 'the image stays as long as the container')
  lamina.out('rm', 'user')
  lamina.out('rmi', 'data:1')
  t.match(lamina.do(['run', '--name', 'x', ...mount, 'true']), { code: 125, stderr: /data:1: no such image/ })
  t.equal(lamina.out('ps', '-aq'), '', 'and nothing was made for one that is not there')
  t.notMatch(readFileSync('/proc/self/mountinfo', 'latin1'), /lamina:[0-9a-f]{12}:0/, 'the host shows no mount of it')
  t.end()
})
