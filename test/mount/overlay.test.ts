/** The driver overlay: the same tree as the driver fuse, with the kernel's overlayfs on top. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { imageLowers } from '../../lib/image/lowers.js'
import { resolveImage } from '../../lib/image/images.js'
import { Store } from '../../lib/image/store.js'
import { listMounts } from '../../lib/mount/registry.js'
import type { MountSpec } from '../../lib/mount/spec.js'
import { unmountPath } from '../../lib/mount/unmount.js'
import { readCounters } from '../../lib/mount/counters.js'
import { Lamina } from '../runtime/lamina.js'
import { overlayDriver } from './overlay-driver.js'
import { cannotMount, ended, workspace, type Workspace } from './workspace.js'

const skip = cannotMount || overlayDriver

t.setTimeout(300_000)

/**
 * A tree with something of everything, packed as an image. `escaped`: with attributes that look like overlayfs's, for which the kernel
 * cannot be given the index itself.
 */
function makeImage(t: Test, w: Workspace, escaped = true): { lamina: Lamina; lowers: MountSpec['lowers'] } {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const tree = join(w.base, 'tree')
  mkdirSync(join(tree, 'd/deep/er'), { recursive: true })
  for (const [name, data] of Object.entries({
    a: 'a',
    b: 'bb',
    'd/one': '1',
    'd/two': 'x'.repeat(100_000),
    'd/deep/er/f': 'f',
  }))
    writeFileSync(join(tree, name), data)
  writeFileSync(join(tree, 'empty'), '')
  symlinkSync('d/one', join(tree, 'link'))
  execFileSync('sh', [
    '-ec',
    `cd "$0"; ln a hard; mkfifo fifo; mknod null c 1 3; chmod 4751 b; chown 12:34 b; touch -d 2001-02-03 d
     setfattr -n user.k -v v a; ${escaped ? marks : ''}
     tar --xattrs --xattrs-include='*' -cf ../tree.tar .`,
    tree,
  ])
  lamina.out('import', join(w.base, 'tree.tar'), 'tree:1')
  const store = Store.open(lamina.root)
  return { lamina, lowers: imageLowers(store, resolveImage(store, 'tree:1')) }
}

const marks = `
  setfattr -n user.overlay.redirect -v /secret d/one; setfattr -n user.overlay.metacopy -v '' d/one
  setfattr -n trusted.overlay.redirect -v /secret d/two; setfattr -n trusted.overlay.opaque -v y d`

/** What a user can see of the tree at $M, inode numbers and link counts of directories left out. */
const view = (w: Workspace): string =>
  w.sh(`cd $M; find . -type d -printf '%p %y %m %U %G %t\\n' -o -printf '%p %y %m %U %G %s %t %n %l\\n' | sort
    find . -type f -print0 | sort -z | xargs -0 md5sum
    getfattr -hR -d -m - --absolute-names . | sort`)

for (const escaped of [true, false])
  t.test(`an image ${escaped ? 'that a server shows' : 'whose index the kernel reads'}`, { skip }, async t => {
    const w = workspace(t)
    const { lowers } = makeImage(t, w, escaped)
    const spec: MountSpec = { lowers, upper: w.upper, work: w.work }
    await t.test('is the same tree as under the driver fuse, and its data is not asked for', async t => {
      const trees: string[] = []
      for (const driver of ['fuse', 'overlay'] as const) {
        const record = await w.mount({ lowers, driver })
        trees.push(view(w))
        t.throws(() => w.sh('echo no > $M/a'), /Read-only/, driver)
        if (driver === 'overlay') {
          const { READ, OPEN } = readCounters(record.stats)
          t.same([READ, OPEN], [undefined, escaped ? 1 : undefined], 'opened is at most what is empty, read is nothing')
          t.match(w.sh('grep " $M " /proc/mounts'), /^lamina \S+ overlay ro,/)
          t.match(await listMounts(w.runRoot), [{ state: 'serving', passthrough: true }])
        }
        await unmountPath(w.runRoot, w.point)
        await ended(record)
      }
      t.equal(trees[1], trees[0])
      t.equal(/user.overlay.redirect="\/secret"/.test(trees[0] ?? ''), escaped, "overlayfs's names are the tree's own")
    })
    await t.test('has changes in the upper, in a form that the driver fuse goes on with', async t => {
      const record = await w.mount({ ...spec, driver: 'overlay' })
      w.sh(`cd $M; rm b; echo more >> a; chmod 600 d/two; mv d e; echo new > e/deep/new; mkdir -p n/m; mv e/deep/er n/m/er; ln e/two two
        setfattr -n trusted.overlay.redirect -v /secret n; rm -r n/m/er; mkdir n/m/er; touch n/m/er/x`)
      const changed = view(w)
      t.notMatch(changed, /^\.\/b /m)
      const whiteout = statSync(join(w.upper, 'b'))
      t.ok(whiteout.isCharacterDevice() && whiteout.rdev === 0, 'a whiteout')
      await unmountPath(w.runRoot, w.point)
      await ended(record)
      t.same(readdirSync(w.upper).sort(), ['a', 'b', 'd', 'e', 'n', 'two'])
      for (const driver of ['fuse', 'overlay', 'fuse'] as const) {
        await w.mount({ ...spec, driver })
        t.equal(view(w), changed, driver)
        await unmountPath(w.runRoot, w.point)
      }
    })
    await t.test('that is damaged is refused', async t => {
      const [lower] = lowers
      const bytes = readFileSync(lower?.path ?? '')
      bytes[bytes.indexOf('deep')] = 0x44
      writeFileSync(lower?.path ?? '', bytes)
      await t.rejects(w.mount({ lowers, driver: 'overlay' }), { code: 'LOWER_CORRUPT', message: /fsck/ })
    })
  })

t.test('directories as lowers, with every form of whiteout', { skip }, async t => {
  const w = workspace(t)
  const over = join(w.base, 'over')
  mkdirSync(over)
  w.sh(`cd $L; mkdir -p d o; echo 1 > d/f; echo 2 > d/g; echo 3 > o/hidden; echo 4 > kept
    cd ${over}; mkdir -p d o; mknod d/f c 0 0; : > d/.wh.g; : > o/.wh..wh..opq; echo 5 > o/own`)
  const lowers: MountSpec['lowers'] = [{ kind: 'directory', path: over }, ...w.spec.lowers]
  await w.mount({ ...w.spec, lowers, driver: 'overlay' })
  t.equal(
    w.sh('cd $M; find . | sort; cat kept o/own; echo 6 >> kept; cat kept'),
    '.\n./d\n./kept\n./o\n./o/own\n4\n5\n4\n6\n',
  )
  t.equal(w.sh('cat $L/kept $U/kept'), '4\n4\n6\n')
  t.throws(() => w.sh('ls $M/.lamina'), /No such file/)
})

t.test('one mount per upper, whoever makes it', { skip }, async t => {
  const w = workspace(t)
  const second = join(w.base, 'second')
  mkdirSync(second)
  await w.mount({ ...w.spec, driver: 'overlay' })
  for (const driver of ['overlay', 'fuse'] as const)
    await t.rejects(w.mount({ ...w.spec, driver }, second), { code: 'UPPER_IN_USE' }, driver)
  await unmountPath(w.runRoot, w.point)
  await w.mount({ ...w.spec, driver: 'fuse' })
  await t.rejects(w.mount({ ...w.spec, driver: 'overlay' }, second), { code: 'UPPER_IN_USE' })
})

t.test('a volatile mount may follow another while the machine is up, and not after', { skip }, async t => {
  const w = workspace(t)
  const spec: MountSpec = { ...w.spec, driver: 'overlay', volatile: true }
  for (const name of ['one', 'two']) {
    await w.mount(spec)
    w.sh(`touch $M/${name}`)
    await unmountPath(w.runRoot, w.point)
  }
  t.same(readdirSync(w.upper).sort(), ['one', 'two'])
  const [boot = ''] = readdirSync(join(w.work, 'work/incompat/volatile')).filter(name => name !== 'dirty')
  w.sh(`mv ${join(w.work, 'work/incompat/volatile', boot)} ${join(w.work, 'work/incompat/volatile/another-boot')}`)
  await t.rejects(w.mount({ ...spec, volatile: false }), { code: 'UPPER_LOST' })
})

t.test('a server that was killed: its mount is dead, and goes', { skip }, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'a'), 'a')
  const record = await w.mount({ ...w.spec, driver: 'overlay' })
  w.sh('echo b > $M/b')
  process.kill(record.pid, 'SIGKILL')
  await ended(record)
  t.match(await listMounts(w.runRoot), [{ state: 'dead' }])
  t.throws(() => w.sh('cat $M/a'), /Transport endpoint|not connected|connection abort/i)
  await unmountPath(w.runRoot, w.point)
  await w.mount({ ...w.spec, driver: 'overlay' })
  t.equal(w.sh('cat $M/a $M/b'), 'ab\n')
})

t.test('what it cannot do is said', { skip }, async t => {
  const w = workspace(t)
  const { lamina } = makeImage(t, w)
  await t.rejects(w.mount({ lowers: w.spec.lowers, driver: 'overlay' }), {
    code: 'UNSUPPORTED',
    message: /needs an upper directory, or an image/,
  })
  await t.rejects(w.mount({ ...w.spec, driver: 'overlay', transport: 'fuse-native' }), { code: 'UNSUPPORTED' })
  t.match(lamina.do(['mount', '--driver', 'aufs', 'tree:1', w.point]), { code: 2, stderr: /driver/ })
  t.equal(lamina.out('mount', '--driver', 'overlay', '--writable=kept', 'tree:1', w.point), 'kept')
  lamina.out('unmount', w.point)
  t.match(lamina.do(['mount', '--driver', 'fuse', '--writable=kept', 'tree:1', w.point]), {
    code: 2,
    stderr: /container kept was made with --driver overlay/,
  })
  t.equal(lamina.out('mount', '--writable=kept', 'tree:1', w.point), 'kept', 'its own driver need not be said')
  t.match(w.sh('grep " $M " /proc/mounts'), / overlay rw,/)
  lamina.out('unmount', w.point)
  lamina.out('rm', 'kept')
})

t.test("what is overlayfs's and not the union's: a changed file leaves its hard links", { skip }, async t => {
  const w = workspace(t)
  const { lowers } = makeImage(t, w)
  await w.mount({ lowers, upper: w.upper, work: w.work, driver: 'overlay' })
  t.equal(w.sh('cd $M; echo more >> a; cat a hard'), 'amore\na')
})

t.test('in a user namespace', { skip }, async t => {
  const w = workspace(t)
  const { lamina } = makeImage(t, w)
  const inside = (script: string): { code: number | null; output: string } => {
    const mount = lamina
      .line(['mount'])
      .map(word => `'${word}'`)
      .join(' ')
    const unmount = lamina
      .line(['unmount'])
      .map(word => `'${word}'`)
      .join(' ')
    const env = { ...lamina.env, M: w.point, U: w.upper, W: w.work, L: w.lower }
    const lines = `mount() { ${mount} "$@"; }; unmount() { ${unmount} "$@"; }; ${script}`
    const r = spawnSync('unshare', ['-Urm', 'sh', '-ec', lines], { env, encoding: 'utf8', timeout: 120_000 })
    return { code: r.status, output: r.stdout + r.stderr }
  }
  await t.test('the image, its data, and changes in `user.` attributes', async t => {
    const r = inside(`mount --driver overlay -l $L -u $U -w $W $M; echo in > $M/in; mkdir $M/dir; unmount $M
      mount --driver overlay tree:1 $M; cd $M; cat d/deep/er/f; getfattr -d -m - --absolute-names d/one; wc -c < d/two; cd /; unmount $M`)
    t.same(r, {
      code: 0,
      output: 'f# file: d/one\nuser.overlay.metacopy=""\nuser.overlay.redirect="/secret"\n\n100000\n',
    })
    t.same(readdirSync(w.upper).sort(), ['dir', 'in'])
  })
  await t.test("what is overlayfs's there: a lower directory is not renamed, but copied by those who can", async t => {
    const r = inside(`mkdir $L/whole; echo w > $L/whole/w; mount --driver overlay -l $L -u $U -w $W $M
      python3 -c "import os; os.rename('$M/whole', '$M/part')" 2>&1 | tail -1; mv $M/whole $M/part; cat $M/part/w; unmount $M`)
    t.match(r, { code: 0, output: /^OSError: .* Invalid cross-device link.*\nw\n$/ })
  })
  await t.test('an upper that the driver fuse has written may hold what overlayfs does not follow there', async t => {
    w.sh('mkdir $L/old; echo x > $L/old/x')
    const r = inside(
      `mount -l $L -u $U -w $W $M; mv $M/old $M/moved; unmount $M; mount --driver overlay -l $L -u $U -w $W $M`,
    )
    t.match(r, { code: 3, output: /the driver fuse has written it/ })
    t.equal(inside('mount -l $L -u $U -w $W $M; cat $M/moved/x; unmount $M').output, 'x\n', 'that one goes on')
  })
})
