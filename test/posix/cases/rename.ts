/** Owns what must hold for rename(2): every kind of source over every kind of target, its flags, and what stays open. */
import { O, RENAME } from '../../../lib/sys/constants.js'
import { contents, fails, lstat, ok, put, type Case } from '../case.js'
import { dir, fifo, file, hardlink, symlink } from '../population.js'
import { names, snapshot } from '../snapshot.js'

const family = [
  dir('d', { mode: 0o750 }),
  file('d/f', 'f'),
  dir('d/sub'),
  file('d/sub/g', 'g'),
  symlink('d/l', 'f'),
  dir('other'),
  file('other/o', 'o'),
  dir('empty'),
]

export const renameCases: readonly Case[] = [
  {
    title: 'a directory is renamed with all it holds, again and again',
    items: family,
    run(t, { fs, tree }) {
      const before = snapshot(fs, 'd').map(line => line.slice(1))
      ok(t, fs.rename('d', 'e'), 'd to e')
      t.same(
        snapshot(fs, 'e').map(line => line.slice(1)),
        before,
        'the same under the new name',
      )
      fails(t, fs.open('d', O.RDONLY), 'ENOENT', 'the old name')
      ok(t, fs.rename('e', 'other/x'), 'into another directory')
      tree.remount()
      t.same(
        snapshot(fs, 'other/x').map(line => line.slice(7)),
        before,
        'after a remount',
      )
      ok(t, fs.rename('other', 'empty/y'), 'its parent moves')
      t.equal(contents(fs, 'empty/y/x/sub/g'), 'g')
      ok(t, fs.rename('empty/y/x/sub', 'back'), 'a child moves out')
      t.equal(contents(fs, 'back/g'), 'g')
      ok(t, fs.rename('empty/y/x', 'd'), 'back')
      tree.remount()
      t.same(names(fs, 'd'), ['f', 'l'])
      t.equal(contents(fs, 'd/l'), 'f', 'the symlink still leads')
      t.equal(contents(fs, 'back/g'), 'g')
      t.same(names(fs, 'empty/y'), ['o'])
      t.equal(lstat(t, fs, 'd').mode & 0o7777, 0o750)
    },
  },
  {
    title: 'a directory made under the old name of a renamed one is empty',
    items: family,
    run(t, { fs, tree }) {
      ok(t, fs.rename('d', 'e'), 'rename')
      ok(t, fs.mkdir('d', 0o711), 'mkdir')
      t.same(names(fs, 'd'), [])
      t.equal(put(fs, 'd/new', 'new'), 'OK')
      tree.remount()
      t.same(names(fs, 'd'), ['new'])
      t.same(names(fs, 'e'), ['f', 'l', 'sub'])
      t.equal(lstat(t, fs, 'd').mode & 0o7777, 0o711)
    },
  },
  {
    title: 'a directory replaces an empty one, also one that was emptied',
    items: [...family, dir('emptied'), file('emptied/x')],
    run(t, { fs, tree }) {
      ok(t, fs.rename('d', 'empty'), 'over the empty one')
      t.same(names(fs, 'empty'), ['f', 'l', 'sub'])
      fails(t, fs.rename('empty', 'emptied'), 'ENOTEMPTY', 'over a full one')
      ok(t, fs.unlink('emptied/x'), 'unlink')
      ok(t, fs.rename('empty', 'emptied'), 'over the emptied one')
      t.same(names(fs, 'emptied'), ['f', 'l', 'sub'])
      tree.remount()
      t.same(names(fs, 'emptied'), ['f', 'l', 'sub'], 'nothing of the replaced one shows')
      t.same(names(fs, ''), ['emptied', 'other'])
    },
  },
  {
    title: 'a file replaces any file: the target is gone, the source is whole',
    items: [file('a', 'A', { mode: 0o600 }), file('b', 'BB'), symlink('s', 'a'), fifo('p')],
    run(t, { fs, tree }) {
      const ino = lstat(t, fs, 'a').ino
      for (const over of ['b', 's', 'p']) {
        ok(t, fs.rename('a', over), `over ${over}`)
        t.equal(contents(fs, over), 'A')
        t.equal(lstat(t, fs, over).mode & 0o7777, 0o600)
        t.equal(lstat(t, fs, over).ino, ino)
        ok(t, fs.rename(over, 'a'), 'back')
      }
      tree.remount()
      t.same(names(fs, ''), ['a'])
      t.equal(contents(fs, 'a'), 'A')
    },
  },
  {
    title: 'a rename keeps mtime and moves ctime',
    items: [file('f'), dir('d')],
    run(t, { fs }) {
      for (const [from, to] of [
        ['f', 'g'],
        ['d', 'e'],
      ] as const) {
        const before = lstat(t, fs, from)
        const mtime = [before.mtime, before.mtimeNs]
        ok(t, fs.rename(from, to), `rename ${from}`)
        const after = lstat(t, fs, to)
        t.same([after.mtime, after.mtimeNs], mtime)
        t.ok(after.ctime > 1_600_000_000)
      }
    },
  },
  {
    title: 'a rename between two names of one file does nothing',
    items: [file('a', 'x'), hardlink('b', 'a'), dir('d')],
    run(t, { fs }) {
      ok(t, fs.rename('a', 'b'), 'rename')
      t.same(names(fs, ''), ['a', 'b', 'd'])
      t.equal(lstat(t, fs, 'a').nlink, 2)
      ok(t, fs.rename('a', 'a'), 'to itself')
      ok(t, fs.rename('d', 'd'), 'a directory to itself')
      t.same(names(fs, ''), ['a', 'b', 'd'])
    },
  },
  {
    title: 'NOREPLACE renames to a free name, also one that was freed',
    items: [file('a', 'A'), file('b', 'B'), dir('d'), file('d/x')],
    run(t, { fs, tree }) {
      fails(t, fs.rename('a', 'b', RENAME.NOREPLACE), 'EEXIST', 'taken')
      ok(t, fs.unlink('b'), 'unlink')
      ok(t, fs.rename('a', 'b', RENAME.NOREPLACE), 'freed')
      ok(t, fs.rename('d', 'e', RENAME.NOREPLACE), 'a directory')
      tree.remount()
      t.same(names(fs, ''), ['b', 'e'])
      t.same(names(fs, 'e'), ['x'])
      t.equal(contents(fs, 'b'), 'A')
    },
  },
  {
    title: 'EXCHANGE swaps any two: files, directories, a file and a directory',
    items: family,
    run(t, { fs, tree }) {
      const inode = (path: string): number => lstat(t, fs, path).ino
      const before = { d: inode('d'), other: inode('other'), o: inode('other/o'), f: inode('d/f') }
      ok(t, fs.rename('d', 'other', RENAME.EXCHANGE), 'two directories')
      t.same(names(fs, 'other'), ['f', 'l', 'sub'])
      t.same(names(fs, 'd'), ['o'])
      t.same([inode('other'), inode('d')], [before.d, before.other])
      ok(t, fs.rename('other/f', 'd/o', RENAME.EXCHANGE), 'two files')
      t.equal(contents(fs, 'other/f'), 'o')
      t.equal(contents(fs, 'd/o'), 'f')
      t.same([inode('other/f'), inode('d/o')], [before.o, before.f])
      ok(t, fs.rename('d/o', 'other/sub', RENAME.EXCHANGE), 'a file and a directory')
      t.same(names(fs, 'd/o'), ['g'])
      t.equal(contents(fs, 'other/sub'), 'f')
      tree.remount()
      t.same(names(fs, 'd'), ['o'])
      t.same(names(fs, 'd/o'), ['g'])
      t.equal(contents(fs, 'd/o/g'), 'g')
      t.equal(contents(fs, 'other/sub'), 'f')
      t.equal(contents(fs, 'other/f'), 'o')
    },
  },
  {
    title: 'handles stay on their file when it, its directory, or the target is renamed',
    items: family,
    run(t, { fs }) {
      const f = fs.open('d/f', O.RDWR)
      const g = fs.open('d/sub/g', O.RDONLY)
      const d = fs.opendir('d')
      ok(t, fs.rename('d', 'e'), 'rename the directory')
      ok(t, fs.rename('e/f', 'moved'), 'rename the file')
      ok(t, fs.pwrite(f, Buffer.from('written'), 0), 'write')
      t.equal(contents(fs, 'moved'), 'written')
      t.equal((fs.pread(g, 10, 0) as Buffer).toString(), 'g')
      const left = fs.readdir(d, 0n, 4096)
      t.same(
        typeof left === 'number' ? left : left.map(e => e.name).toSorted(),
        ['.', '..', 'l', 'sub'],
        'the open directory lists on',
      )
      for (const h of [f, g]) fs.close(h)
      fs.closedir(d)
    },
  },
  {
    title: 'a rename over a name and back again, many times, leaves one file',
    items: [file('conf', 'v0'), dir('d')],
    run(t, { fs, tree }) {
      for (let i = 1; i <= 20; i++) {
        t.equal(put(fs, 'conf.tmp', `v${i}`), 'OK')
        ok(t, fs.rename('conf.tmp', 'conf'), 'replace')
        t.equal(contents(fs, 'conf'), `v${i}`)
      }
      tree.remount()
      t.same(names(fs, ''), ['conf', 'd'])
      t.equal(contents(fs, 'conf'), 'v20')
    },
  },
]
