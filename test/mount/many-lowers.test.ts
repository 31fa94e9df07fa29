/** Mounts as the command line makes them: hundreds of lowers; an image by either transport. */
import t from 'tap'
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lamina } from '../cli/lamina.js'
import { cannotMount } from '../fuse/mounted.js'

const skip = cannotMount

t.test('six hundred lowers are one tree, the first on top', { skip }, async t => {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'many-')))
  for (const name of ['upper', 'work', 'mnt']) mkdirSync(join(base, name))
  const lowers = Array.from({ length: 600 }, (_, i) => join(base, `d${i}`))
  lowers.forEach((lower, i) => {
    mkdirSync(lower)
    writeFileSync(join(lower, `only${i}`), String(i))
    writeFileSync(join(lower, 'same'), String(i))
  })
  const point = join(base, 'mnt')
  const top = ['--upper', join(base, 'upper'), '--work', join(base, 'work')]
  t.match(await lamina('mount', ...lowers.flatMap(lower => ['--lower', lower]), ...top, point), { code: 0, stderr: '' })
  t.teardown(() => lamina('unmount', point))
  t.equal(readdirSync(point).length, 601)
  t.equal(readFileSync(join(point, 'same'), 'utf8'), '0')
  t.equal(readFileSync(join(point, 'only599'), 'utf8'), '599')
  appendFileSync(join(point, 'only598'), '+')
  t.equal(readFileSync(join(base, 'upper/only598'), 'utf8'), '598+')
  t.equal(readFileSync(join(base, 'd598/only598'), 'utf8'), '598')
})

const noNative = spawnSync(process.execPath, ['-e', "require('fuse-native')"]).status === 0 ? false : 'no fuse-native'

t.test('an image is the same tree by either transport', { skip: skip || noNative }, async t => {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'image-')))
  for (const name of ['root', 'root/dir', 'mnt']) mkdirSync(join(base, name))
  writeFileSync(join(base, 'root/dir/file'), 'in an image\n', { mode: 0o4755 })
  const make =
    'cd "$1/root" && ln dir/file second && ln -s dir/file link && mkfifo fifo && chown 12:34 dir && tar -cf ../i.tar .'
  t.equal(spawnSync('sh', ['-c', make, 'sh', base]).status, 0)
  t.match(await lamina('import', join(base, 'i.tar'), 'tiny:1'), { code: 0 })
  const point = join(base, 'mnt')
  const seen: string[] = []
  for (const transport of ['direct', 'fuse-native']) {
    t.match(await lamina('mount', '--transport', transport, 'tiny:1', point), { code: 0, stderr: '' }, transport)
    const list = 'cd "$1" && find . -printf "%P %y %m %U %G %s %n %T@ %l\\n" | sort; cat dir/file second; touch x 2>&1'
    seen.push(spawnSync('timeout', ['200', 'sh', '-c', list, 'sh', point], { encoding: 'utf8' }).stdout)
    t.match(await lamina('unmount', point), { code: 0, stderr: '' })
  }
  t.match(seen[0], /^second f 4?755 0 0 12 2 .*$/m)
  t.match(seen[0], /Read-only file system/)
  // The portable transport tells times to the millisecond.
  const cut = (text = ''): string => text.replace(/(\.\d{3})\d+/g, '$1')
  t.equal(cut(seen[1]), cut(seen[0]))
})
