/**
 * Owns what must hold between layers: whiteouts and opaque marks of every depth, and what lands in the raw upper, in
 * the form of Documentation/filesystems/overlayfs.rst.
 */
import { AT, O, S } from '../../../lib/sys/constants.js'
import { close, open } from '../../../lib/sys/file.js'
import { Stat, statat } from '../../../lib/sys/stat.js'
import { getxattrat } from '../../../lib/sys/xattr.js'
import { contents, fails, lstat, ok, put, type Case, type Context } from '../case.js'
import { dir, file, hardlink, opaque, symlink, whiteout } from '../population.js'
import { names } from '../snapshot.js'

/** What lies at `path` in the raw upper: `none`, `whiteout`, or its type and attributes of overlayfs. */
function raw(c: Context, path: string): string {
  if (c.tree.upper === undefined) return 'no upper'
  const st = new Stat()
  const full = `${c.tree.upper}/${c.base}${path === '' ? '' : `/${path}`}`
  if (statat(AT.FDCWD, full, st) < 0) return 'none'
  if ((st.mode & S.IFMT) === S.IFCHR && st.rdev === 0) return 'whiteout'
  const kind = { [S.IFREG]: 'file', [S.IFDIR]: 'dir', [S.IFLNK]: 'symlink' }[st.mode & S.IFMT] ?? 'other'
  const marks = ['opaque', 'redirect', 'metacopy'].filter(m => rawXattr(c, path, m) !== undefined)
  return [kind, ...marks].join(' ')
}

function rawXattr(c: Context, path: string, name: string): string | undefined {
  const slash = path.lastIndexOf('/')
  const at = open(`${c.tree.upper}/${c.base}/${path.slice(0, Math.max(slash, 0))}`, O.PATH)
  const value = ['trusted', 'user']
    .map(namespace => getxattrat(at, path.slice(slash + 1), `${namespace}.overlay.${name}`))
    .find(v => typeof v !== 'number')
  if (at >= 0) close(at)
  return typeof value === 'object' ? value.toString('latin1') : undefined
}

export const layerCases: readonly Case[] = [
  {
    title: 'names of all layers are merged; the topmost wins; a file hides a directory and the other way round',
    layers: {
      lowers: [
        [file('a', 'base'), file('b', 'base'), dir('d'), file('d/base'), file('x', 'file'), dir('y'), file('y/f')],
        [file('b', 'middle'), dir('d'), file('d/middle'), dir('x'), file('x/g'), file('y', 'file')],
      ],
      upper: [dir('d', { mode: 0o711 }), file('d/upper'), file('c', 'upper')],
    },
    run(t, { fs }) {
      t.same(names(fs, ''), ['a', 'b', 'c', 'd', 'x', 'y'])
      t.same(names(fs, 'd'), ['base', 'middle', 'upper'])
      t.equal(contents(fs, 'b'), 'middle')
      t.same(names(fs, 'x'), ['g'])
      t.equal(contents(fs, 'y'), 'file')
      t.equal(lstat(t, fs, 'd').mode & 0o7777, 0o711, 'attributes of the topmost')
    },
  },
  {
    title: 'whiteouts and opaque marks of any depth',
    layers: {
      lowers: [
        [
          file('a'),
          dir('d'),
          file('d/x', 'base'),
          file('d/y', 'base'),
          dir('d/deep'),
          file('d/deep/z', 'base'),
          dir('o'),
          dir('o/p'),
          file('o/p/q', 'base'),
          dir('gone'),
          file('gone/f'),
        ],
        [
          whiteout('a'),
          dir('d'),
          whiteout('d/x'),
          dir('d/deep'),
          opaque('d/deep'),
          dir('o'),
          opaque('o'),
          whiteout('gone'),
        ],
      ],
      upper: [dir('o'), dir('o/p'), dir('gone'), file('gone/new', 'upper'), file('d/x', 'upper')],
    },
    run(t, { fs }) {
      t.same(names(fs, ''), ['d', 'gone', 'o'])
      t.same(names(fs, 'd'), ['deep', 'x', 'y'])
      t.equal(contents(fs, 'd/x'), 'upper', 're-created over a whiteout')
      t.same(names(fs, 'd/deep'), [], 'opaque')
      t.same(names(fs, 'o'), ['p'])
      t.same(names(fs, 'o/p'), [], "a parent's opaque mark hides what lies two levels down")
      t.same(names(fs, 'gone'), ['new'], 'a directory over a whiteout of its name is not merged with what is below it')
    },
  },
  {
    title: 'whiteouts are never seen, and nothing can be done with them',
    layers: { lowers: [[file('f'), dir('d'), file('d/g')]], upper: [whiteout('f'), whiteout('d')] },
    run(t, { fs }) {
      t.same(names(fs, ''), [])
      for (const [call, run] of [
        ['stat', () => fs.stat('f', new Stat())],
        ['open', () => fs.open('f', O.RDONLY)],
        ['unlink', () => fs.unlink('f')],
        ['rmdir', () => fs.rmdir('d')],
        ['rename', () => fs.rename('f', 'x')],
        ['rename of a directory', () => fs.rename('d', 'x')],
        ['link', () => fs.link('f', 'x')],
        ['chmod', () => fs.chmod('f', 0o600)],
        ['below', () => fs.stat('d/g', new Stat())],
        ['create below', () => fs.mknod('d/g', S.IFREG | 0o644, 0)],
      ] as const)
        fails(t, run(), 'ENOENT', call)
    },
  },
  {
    title: 'raw upper: removing what only the upper has leaves nothing, what a lower has leaves a whiteout',
    layered: true,
    layers: {
      lowers: [[file('low'), dir('ld'), file('ld/x')]],
      upper: [file('up'), dir('ud'), dir('ld'), file('both')],
    },
    run(t, c) {
      const { fs } = c
      ok(t, fs.unlink('up'), 'unlink')
      ok(t, fs.rmdir('ud'), 'rmdir')
      ok(t, fs.unlink('low'), 'unlink')
      t.equal(raw(c, 'up'), 'none')
      t.equal(raw(c, 'ud'), 'none')
      t.equal(raw(c, 'low'), 'whiteout')
      ok(t, fs.unlink('ld/x'), 'unlink')
      t.equal(raw(c, 'ld/x'), 'whiteout')
      ok(t, fs.rmdir('ld'), 'rmdir of a merged directory with a whiteout in it')
      t.equal(raw(c, 'ld'), 'whiteout')
      t.equal(put(fs, 'low', 'again'), 'OK')
      t.equal(raw(c, 'low'), 'file', 'the whiteout is replaced')
      ok(t, fs.unlink('low'), 'unlink')
      t.equal(raw(c, 'low'), 'whiteout', 'and comes back')
      ok(t, fs.mkdir('ld', 0o755), 'mkdir')
      t.equal(raw(c, 'ld'), 'dir opaque')
    },
  },
  {
    title: 'raw upper: a change copies up that file and its parents, and no other',
    layered: true,
    layers: {
      lowers: [[dir('a', { mode: 0o750, uid: 3 }), dir('a/b', { mode: 0o710 }), file('a/b/f', 'text'), file('a/g')]],
    },
    run(t, c) {
      const { fs } = c
      const fd = fs.open('a/b/f', O.WRONLY)
      ok(t, fs.pwrite(fd, Buffer.from('T'), 0), 'write')
      fs.close(fd)
      t.equal(raw(c, 'a'), 'dir')
      t.equal(raw(c, 'a/b'), 'dir')
      t.equal(raw(c, 'a/b/f'), 'file')
      t.equal(raw(c, 'a/g'), 'none')
      const st = new Stat()
      statat(AT.FDCWD, `${c.tree.upper}/${c.base}/a`, st)
      t.same([st.mode & 0o7777, st.uid], [0o750, 3], 'parents keep mode and owner')
      statat(AT.FDCWD, `${c.tree.upper}/${c.base}/a/b`, st)
      t.equal(st.mode & 0o7777, 0o710)
    },
  },
  {
    title: 'raw upper: reading copies nothing up',
    layered: true,
    layers: { lowers: [[dir('d'), file('d/f', 'text'), symlink('d/s', 'f')]] },
    run(t, c) {
      const { fs } = c
      names(fs, 'd')
      contents(fs, 'd/s')
      lstat(t, fs, 'd/f')
      fs.getxattr('d/f', 'user.a')
      fails(t, fs.unlink('d/none'), 'ENOENT', 'a failing call')
      fails(t, fs.rmdir('d'), 'ENOTEMPTY', 'another')
      t.equal(raw(c, 'd'), 'none')
    },
  },
  {
    title: 'raw upper: a change of attributes moves no data, and the data follows when it is written',
    layered: true,
    layers: { lowers: [[file('f', Buffer.alloc(200_000, 'd'), { xattrs: { 'user.a': 'x' } })]] },
    run(t, c) {
      const { fs, tree } = c
      ok(t, fs.chmod('f', 0o600), 'chmod')
      ok(t, fs.chown('f', 4, 5), 'chown')
      ok(t, fs.utimens('f', 1, 2, 3, 4), 'utimens')
      t.equal(raw(c, 'f'), 'file metacopy')
      const st = new Stat()
      statat(AT.FDCWD, `${tree.upper}/${c.base}/f`, st)
      t.equal(st.size, 200_000, 'its size is the file’s')
      t.ok(st.blocks < 64, `holds no data: ${st.blocks} blocks`)
      t.equal(contents(fs, 'f').length, 200_000)
      tree.remount()
      t.equal(contents(fs, 'f'), 'd'.repeat(200_000), 'read through the mark after a remount')
      const now = lstat(t, fs, 'f')
      t.same([now.mode & 0o7777, now.uid, now.gid, now.mtime, now.mtimeNs], [0o600, 4, 5, 3, 4])
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.pwrite(fd, Buffer.from('END'), 199_997), 'write')
      fs.close(fd)
      tree.remount()
      t.equal(raw(c, 'f'), 'file', 'complete')
      t.equal(contents(fs, 'f'), `${'d'.repeat(199_997)}END`)
    },
  },
  {
    title: 'raw upper: a renamed lower directory is a redirect, its old name a whiteout',
    layered: true,
    layers: { lowers: [[dir('d'), file('d/f', 'f'), dir('e')]] },
    run(t, c) {
      const { fs, tree } = c
      ok(t, fs.rename('d', 'e/d2'), 'rename')
      t.equal(raw(c, 'd'), 'whiteout')
      t.ok(raw(c, 'e/d2').includes('redirect'), raw(c, 'e/d2'))
      t.equal(rawXattr(c, 'e/d2', 'redirect'), `/${c.base}/d`)
      t.equal(raw(c, 'e/d2/f'), 'none', 'nothing in it was copied')
      ok(t, fs.rename('e/d2', 'e/d3'), 'again')
      tree.remount()
      t.equal(contents(fs, 'e/d3/f'), 'f')
      ok(t, fs.rename('e/d3', 'd'), 'back home')
      tree.remount()
      t.same(names(fs, 'd'), ['f'])
      t.same(names(fs, 'e'), [])
    },
  },
  {
    title: 'a directory renamed twice over different layers keeps what all of them have',
    layers: {
      lowers: [
        [dir('d'), file('d/base', '1'), dir('d/s'), file('d/s/base', '1')],
        [dir('d'), file('d/middle', '2'), dir('d/s'), file('d/s/middle', '2')],
      ],
      upper: [dir('d'), file('d/upper', '3')],
    },
    run(t, { fs, tree }) {
      ok(t, fs.rename('d', 'e'), 'rename')
      ok(t, fs.rename('e/s', 'e/s2'), 'rename a child')
      t.same(names(fs, 'e'), ['base', 'middle', 's2', 'upper'])
      tree.remount()
      t.same(names(fs, 'e'), ['base', 'middle', 's2', 'upper'])
      t.same(names(fs, 'e/s2'), ['base', 'middle'])
      ok(t, fs.mkdir('d', 0o755), 'the old name')
      ok(t, fs.mkdir('d/s', 0o755), 'and in it')
      tree.remount()
      t.same(names(fs, 'd/s'), [])
      t.equal(contents(fs, 'e/s2/base'), '1')
    },
  },
  {
    title: 'hard links of a lower stay one file when one name is copied up, removed or replaced',
    layers: { lowers: [[file('a', 'one'), hardlink('b', 'a'), hardlink('c', 'a'), dir('d'), hardlink('d/e', 'a')]] },
    run(t, { fs, tree }) {
      const ino = lstat(t, fs, 'a').ino
      ok(t, fs.chmod('b', 0o600), 'chmod one')
      t.equal(lstat(t, fs, 'd/e').mode & 0o7777, 0o600, 'all')
      ok(t, fs.unlink('c'), 'unlink one')
      t.equal(put(fs, 'd/e', 'two'), 'OK')
      tree.remount()
      for (const n of ['a', 'b', 'd/e']) {
        t.equal(contents(fs, n), 'two', n)
        t.equal(lstat(t, fs, n).nlink, 3, n)
        t.equal(lstat(t, fs, n).ino, ino, n)
      }
      t.equal(put(fs, 'c', 'own'), 'OK')
      ok(t, fs.rename('c', 'a'), 'replace one')
      t.equal(lstat(t, fs, 'b').nlink, 2)
      t.equal(contents(fs, 'd/e'), 'two')
    },
  },
  {
    title: 'emptying a tree and filling it again shows nothing of the lower',
    layers: { lowers: [[dir('d'), dir('d/a'), dir('d/a/b'), file('d/a/b/f'), file('d/a/g'), symlink('d/s', 'a')]] },
    run(t, { fs, tree }) {
      for (let round = 0; round < 2; round++) {
        for (const f of ['d/a/b/f', 'd/a/g', 'd/s']) ok(t, fs.unlink(f), f)
        for (const d of ['d/a/b', 'd/a', 'd']) ok(t, fs.rmdir(d), d)
        tree.remount()
        t.same(names(fs, ''), [])
        for (const d of ['d', 'd/a', 'd/a/b']) ok(t, fs.mkdir(d, 0o755), d)
        t.same(names(fs, 'd/a/b'), [])
        for (const f of ['d/a/b/f', 'd/a/g', 'd/s']) t.equal(put(fs, f, `round ${round}`), 'OK')
        tree.remount()
        t.same(names(fs, 'd/a'), ['b', 'g'])
      }
    },
  },
  {
    title: "overlayfs's own attributes are not shown, and a user's of that name do no harm",
    layered: true,
    layers: {
      lowers: [[dir('d'), file('d/f'), file('f', 'text')]],
      upper: [dir('d')],
    },
    run(t, { fs, tree }) {
      ok(t, fs.chmod('f', 0o600), 'chmod')
      ok(t, fs.rename('d', 'e'), 'rename')
      t.same(fs.listxattr('f'), [])
      t.same(fs.listxattr('e'), [])
      fs.setxattr('e', 'trusted.overlay.opaque', Buffer.from('y'))
      fs.setxattr('e', 'trusted.overlay.redirect', Buffer.from('/nowhere'))
      fs.setxattr('f', 'trusted.overlay.metacopy', Buffer.alloc(0))
      fs.setxattr('f', 'trusted.overlay.whiteout', Buffer.from('y'))
      tree.remount()
      t.same(names(fs, 'e'), ['f'])
      t.equal(contents(fs, 'f'), 'text')
    },
  },
]
