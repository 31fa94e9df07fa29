/** Owns what must hold for directories: listings, their stability, emptiness, times and link counts. */
import { DT, O, S } from '../../../lib/sys/constants.js'
import { contents, fails, lstat, ok, outcome, put, type Case } from '../case.js'
import { dir, fifo, file, FIXED_NS, symlink, type Item } from '../population.js'
import { names } from '../snapshot.js'
import type { Dirent, Vfs } from '../vfs.js'

const MANY = 20_000
const some: readonly Item[] = Array.from({ length: 300 }, (_, i) => file(`d/f${i}`, ''))

function listAll(fs: Vfs, path: string, bytes: number): Dirent[] {
  const d = fs.opendir(path)
  const all: Dirent[] = []
  for (let offset = 0n; ;) {
    const entries = fs.readdir(d, offset, bytes)
    if (typeof entries === 'number' || entries.length === 0) break
    all.push(...entries)
    offset = entries.at(-1)?.offset ?? 0n
  }
  fs.closedir(d)
  return all
}

export const directoryCases: readonly Case[] = [
  {
    title: 'a listing has every name once, with its type and inode number, and the dots',
    difference: 'd-ino',
    items: [dir('d'), dir('d/sub'), file('d/f'), symlink('d/l', 'f'), fifo('d/p'), file('d/sub/x')],
    run(t, { fs }) {
      for (const bytes of [64, 300, 65536]) {
        const all = listAll(fs, 'd', bytes)
        t.same(all.map(e => e.name).toSorted(), ['.', '..', 'f', 'l', 'p', 'sub'])
        const type = new Map(all.map(e => [e.name, e.type]))
        t.same(
          ['.', 'f', 'l', 'p', 'sub'].map(n => type.get(n)),
          [DT.DIR, DT.REG, DT.LNK, DT.FIFO, DT.DIR],
        )
        for (const e of all)
          if (e.name !== '.' && e.name !== '..') t.equal(e.ino, lstat(t, fs, `d/${e.name}`).ino, `d_ino of ${e.name}`)
      }
    },
  },
  {
    title: 'names that stay are listed exactly once while others come and go',
    once: true,
    items: [dir('d'), ...some],
    run(t, { fs }) {
      const d = fs.opendir('d')
      const seen = new Map<string, number>()
      let round = 0
      for (let offset = 0n; ;) {
        const entries = fs.readdir(d, offset, 512)
        if (typeof entries === 'number' || entries.length === 0) break
        for (const e of entries) seen.set(e.name, (seen.get(e.name) ?? 0) + 1)
        offset = entries.at(-1)?.offset ?? 0n
        // f0, f10, … are removed and new ones made, as the listing goes.
        if (round < 30) {
          ok(t, fs.unlink(`d/f${round * 10}`), 'unlink')
          t.equal(put(fs, `d/new${round}`, ''), 'OK')
        }
        round++
      }
      fs.closedir(d)
      t.ok(round > 10, 'took many calls')
      for (let i = 0; i < 300; i++) if (i % 10 !== 0) t.equal(seen.get(`f${i}`), 1, `f${i}`)
      for (const [name, count] of seen) t.equal(count, 1, name)
      t.equal(names(fs, 'd').length, 300)
    },
  },
  {
    title: 'seekdir: a listing goes on after any entry, also when that entry is gone',
    items: [dir('d'), ...some],
    run(t, { fs }) {
      const whole = listAll(fs, 'd', 65536)
      const d = fs.opendir('d')
      for (const i of [0, 1, 2, 57, 150, 299, 300]) {
        const at = whole[i]
        if (!at) continue
        const rest: string[] = []
        for (let offset = at.offset; ;) {
          const entries = fs.readdir(d, offset, 4096)
          if (typeof entries === 'number' || entries.length === 0) break
          rest.push(...entries.map(e => e.name))
          offset = entries.at(-1)?.offset ?? 0n
        }
        t.same(
          rest.toSorted(),
          whole
            .slice(i + 1)
            .map(e => e.name)
            .toSorted(),
          `after entry ${i}`,
        )
      }
      const cut = whole[100]
      const after = whole.slice(101).map(e => e.name)
      if (cut && cut.name.startsWith('f')) {
        ok(t, fs.unlink(`d/${cut.name}`), 'unlink the entry to go on after')
        const next = fs.readdir(d, cut.offset, 65536)
        t.same(typeof next === 'number' ? next : next.map(e => e.name), after)
      }
      fs.closedir(d)
    },
  },
  {
    title: `a directory of ${MANY} entries`,
    once: true,
    run(t, { fs, target }) {
      const count = target.kernel ? MANY : MANY / 4
      ok(t, fs.mkdir('big', 0o755), 'mkdir')
      for (let i = 0; i < count; i++) if (fs.mknod(`big/${i}`, S.IFREG | 0o644, 0) !== 0) t.fail(`mknod ${i}`)
      t.equal(names(fs, 'big').length, count)
      for (let i = 0; i < count; i += 2) if (fs.unlink(`big/${i}`) !== 0) t.fail(`unlink ${i}`)
      const left = new Set(names(fs, 'big'))
      t.equal(left.size, count / 2)
      t.notOk(left.has('0'))
      t.ok(left.has('1'))
      for (let i = 1; i < count; i += 2) if (fs.unlink(`big/${i}`) !== 0) t.fail(`unlink ${i}`)
      ok(t, fs.rmdir('big'), 'rmdir')
    },
  },
  {
    title: 'a directory is removed when its last entry is, and stays away',
    items: [dir('d'), dir('d/e'), file('d/e/f'), file('d/g')],
    run(t, { fs, tree }) {
      fails(t, fs.rmdir('d/e'), 'ENOTEMPTY', 'rmdir')
      ok(t, fs.unlink('d/e/f'), 'unlink')
      ok(t, fs.rmdir('d/e'), 'rmdir d/e')
      fails(t, fs.rmdir('d'), 'ENOTEMPTY', 'g is left')
      ok(t, fs.unlink('d/g'), 'unlink')
      ok(t, fs.rmdir('d'), 'rmdir d')
      t.same(names(fs, ''), [])
      tree.remount()
      t.same(names(fs, ''), [], 'after a remount')
    },
  },
  {
    title: 'a directory made where one was removed is empty',
    items: [dir('d'), file('d/f'), dir('d/sub'), file('d/sub/g')],
    run(t, { fs, tree }) {
      ok(t, fs.unlink('d/f'), 'unlink')
      ok(t, fs.unlink('d/sub/g'), 'unlink')
      ok(t, fs.rmdir('d/sub'), 'rmdir')
      ok(t, fs.rmdir('d'), 'rmdir')
      ok(t, fs.mkdir('d', 0o700), 'mkdir')
      t.same(names(fs, 'd'), [])
      fails(t, fs.open('d/f', O.RDONLY), 'ENOENT', 'd/f')
      ok(t, fs.mkdir('d/sub', 0o700), 'mkdir d/sub')
      t.same(names(fs, 'd/sub'), [])
      t.equal(put(fs, 'd/f', 'new'), 'OK')
      tree.remount()
      t.same(names(fs, 'd'), ['f', 'sub'])
      t.same(names(fs, 'd/sub'), [])
      t.equal(contents(fs, 'd/f'), 'new')
      t.equal(lstat(t, fs, 'd').mode & 0o7777, 0o700)
    },
  },
  {
    title: 'a removed directory that is still open can be looked at, and nothing can be made in it',
    difference: 'open-unlinked-nlink',
    items: [dir('d')],
    run(t, { fs }) {
      const d = fs.opendir('d')
      ok(t, d, 'opendir')
      ok(t, fs.rmdir('d'), 'rmdir')
      const st = lstat(t, fs, '')
      ok(t, fs.fstat(d, st), 'fstat')
      t.equal(st.nlink, 0, 'nlink')
      const entries = fs.readdir(d, 0n, 4096)
      // ext4 says ENOENT, others list the dots or nothing.
      if (typeof entries === 'number') t.equal(outcome(entries), 'ENOENT')
      else
        t.same(
          entries.map(e => e.name).filter(n => n !== '.' && n !== '..'),
          [],
        )
      fs.closedir(d)
    },
  },
  {
    title: 'times of a directory move with its entries, and not with reading',
    items: [dir('d', { mtime: 1_100_000_000 }), file('d/f')],
    run(t, { fs }) {
      const at = lstat(t, fs, 'd')
      t.equal(at.mtime, 1_100_000_000)
      t.equal(at.mtimeNs, FIXED_NS)
      names(fs, 'd')
      contents(fs, 'd/f')
      ok(t, fs.chmod('d/f', 0o600), 'chmod')
      t.same([lstat(t, fs, 'd').mtime, lstat(t, fs, 'd').mtimeNs], [1_100_000_000, FIXED_NS], 'reading and chmod')
      t.equal(put(fs, 'd/f', 'changed'), 'OK')
      t.same([lstat(t, fs, 'd').mtime, lstat(t, fs, 'd').mtimeNs], [1_100_000_000, FIXED_NS], 'write into a file')
      for (const [call, run] of [
        ['create', () => fs.mknod('d/x', S.IFREG | 0o644, 0)],
        ['link', () => fs.link('d/x', 'd/y')],
        ['rename', () => fs.rename('d/y', 'd/z')],
        ['unlink', () => fs.unlink('d/z')],
        ['mkdir', () => fs.mkdir('d/e', 0o755)],
        ['rmdir', () => fs.rmdir('d/e')],
        ['symlink', () => fs.symlink('t', 'd/s')],
        ['unlink of the first', () => fs.unlink('d/f')],
      ] as const) {
        ok(t, fs.utimens('d', 1, 0, 1, 0), 'utimens')
        ok(t, run(), call)
        const st = lstat(t, fs, 'd')
        t.ok(st.mtime > 1_600_000_000, `${call} moves mtime`)
        t.ok(st.ctime > 1_600_000_000, `${call} moves ctime`)
      }
    },
  },
  {
    title: 'link counts of directories count their subdirectories',
    difference: 'directory-nlink',
    items: [dir('d'), dir('d/a'), dir('d/b'), file('d/f')],
    run(t, { fs }) {
      t.equal(lstat(t, fs, 'd').nlink, 4)
      ok(t, fs.mkdir('d/c', 0o755), 'mkdir')
      t.equal(lstat(t, fs, 'd').nlink, 5)
      ok(t, fs.rmdir('d/a'), 'rmdir')
      t.equal(lstat(t, fs, 'd').nlink, 4)
      ok(t, fs.rename('d/b', 'b'), 'rename out')
      t.equal(lstat(t, fs, 'd').nlink, 3)
      t.equal(lstat(t, fs, 'b').nlink, 2)
    },
  },
  {
    title: 'deep trees are made, walked, moved and removed',
    once: true,
    run(t, { fs, tree }) {
      let path = 'p'
      ok(t, fs.mkdir(path, 0o755), 'mkdir')
      for (let i = 0; i < 100; i++) {
        path += '/d'
        if (fs.mkdir(path, 0o755) !== 0) t.fail(path)
      }
      t.equal(put(fs, `${path}/f`, 'deep'), 'OK')
      ok(t, fs.rename('p', 'q'), 'rename the top')
      tree.remount()
      path = `q${path.slice(1)}`
      t.equal(contents(fs, `${path}/f`), 'deep')
      ok(t, fs.unlink(`${path}/f`), 'unlink')
      for (; path !== ''; path = path.slice(0, Math.max(path.lastIndexOf('/'), 0)))
        if (fs.rmdir(path) !== 0) t.fail(`rmdir ${path.length}`)
      t.same(names(fs, ''), [])
    },
  },
]
