/** Owns what must hold for modes, owners, times and sizes set by calls. */
import { O, S } from '../../../lib/sys/constants.js'
import { Stat, StatFs, UTIME_NOW, UTIME_OMIT } from '../../../lib/sys/stat.js'
import { contents, lstat, ok, put, type Case } from '../case.js'
import { dir, fifo, file, FIXED_NS, symlink } from '../population.js'
import { hash } from '../snapshot.js'
import { ALICE } from '../vfs.js'

const kinds = [file('file', 'text', { mode: 0o640 }), dir('dir'), fifo('fifo'), symlink('link', 'file')]
const NOW = 1_600_000_000

export const attributeCases: readonly Case[] = [
  {
    title: 'chmod sets all twelve bits, keeps mtime and contents, moves ctime',
    items: kinds,
    run(t, { fs, tree }) {
      for (const name of ['file', 'dir', 'fifo']) {
        const before = lstat(t, fs, name)
        for (const mode of [0o7777, 0, 0o4711, 0o2755, 0o1777, 0o644]) {
          ok(t, fs.chmod(name, mode), `chmod ${name}`)
          t.equal(lstat(t, fs, name).mode, (before.mode & S.IFMT) | mode)
        }
        const after = lstat(t, fs, name)
        t.same([after.mtime, after.mtimeNs], [before.mtime, before.mtimeNs])
        t.ok(after.ctime > NOW)
      }
      ok(t, fs.chmod('link', 0o600), 'chmod follows a symlink')
      t.equal(lstat(t, fs, 'file').mode & 0o7777, 0o600)
      tree.remount()
      t.equal(lstat(t, fs, 'file').mode & 0o7777, 0o600)
      t.equal(lstat(t, fs, 'dir').mode & 0o7777, 0o644)
      t.equal(contents(fs, 'file'), 'text')
    },
  },
  {
    title: 'chown sets either id or both, of any kind of file, and not through a symlink',
    items: kinds,
    run(t, { fs, tree }) {
      const ids = (name: string): number[] => {
        const st = lstat(t, fs, name)
        return [st.uid, st.gid]
      }
      for (const name of ['file', 'dir', 'fifo', 'link']) {
        ok(t, fs.chown(name, 11, -1), 'uid')
        t.same(ids(name), [11, 0])
        ok(t, fs.chown(name, -1, 12), 'gid')
        t.same(ids(name), [11, 12])
        ok(t, fs.chown(name, 60001, 60002), 'both')
        t.same(ids(name), [60001, 60002])
        ok(t, fs.chown(name, -1, -1), 'neither')
        t.same(ids(name), [60001, 60002])
      }
      ok(t, fs.chown('link', 1, 1), 'lchown')
      t.same(ids('file'), [60001, 60002], 'the target is another')
      tree.remount()
      t.same(ids('link'), [1, 1])
      t.same(ids('fifo'), [60001, 60002])
      t.equal(contents(fs, 'file'), 'text')
    },
  },
  {
    title: 'owners may be any number of 32 bits',
    items: kinds,
    run(t, { fs, tree }) {
      for (const name of ['file', 'dir', 'fifo', 'link']) ok(t, fs.chown(name, 70000, 0x7ffffffe), `chown ${name}`)
      tree.remount()
      for (const name of ['file', 'dir', 'fifo', 'link']) {
        const st = lstat(t, fs, name)
        t.same([st.uid, st.gid], [70000, 0x7ffffffe], name)
      }
    },
  },
  {
    title: 'chown clears suid and sgid of a file, keeps those of a directory',
    items: [file('f', 'x', { mode: 0o6755 }), file('nox', 'x', { mode: 0o2644 }), dir('d', { mode: 0o6755 })],
    run(t, { fs }) {
      ok(t, fs.chown('f', 5, 5), 'chown')
      t.equal(lstat(t, fs, 'f').mode & 0o7777, 0o755)
      ok(t, fs.chown('d', 5, 5), 'chown')
      t.equal(lstat(t, fs, 'd').mode & 0o7777, 0o6755)
      ok(t, fs.chown('nox', 5, 5), 'chown')
      t.equal(lstat(t, fs, 'nox').mode & 0o7777, 0o2644, 'sgid without group execute is no sgid')
    },
  },
  {
    title: 'times are kept to the nanosecond, before 1970 and after 2038',
    items: kinds,
    run(t, { fs, tree }) {
      const read = (name: string): number[] => {
        const st = lstat(t, fs, name)
        return [st.atime, st.atimeNs, st.mtime, st.mtimeNs]
      }
      const first = lstat(t, fs, 'file')
      t.equal(first.mtimeNs, FIXED_NS, 'as populated')
      for (const name of ['file', 'dir', 'fifo', 'link']) {
        for (const [a, aNs, m, mNs] of [
          [1, 2, 3, 999_999_999],
          [-1_000_000, 5, -1, 999_999_999],
          [0x80000000, 1, 0x100000001, 7],
          [0, 0, 0, 0],
        ] as const) {
          ok(t, fs.utimens(name, a, aNs, m, mNs), `utimens ${name}`)
          t.same(read(name), [a, aNs, m, mNs], `${name} ${a} ${m}`)
        }
        ok(t, fs.utimens(name, 10, 11, 12, 13), 'utimens')
        ok(t, fs.utimens(name, 0, UTIME_OMIT, 20, 21), 'omit atime')
        t.same(read(name), [10, 11, 20, 21])
        ok(t, fs.utimens(name, 30, 31, 0, UTIME_OMIT), 'omit mtime')
        t.same(read(name), [30, 31, 20, 21])
        t.ok(lstat(t, fs, name).ctime > NOW, 'ctime is now')
      }
      tree.remount()
      for (const name of ['file', 'dir', 'fifo', 'link'])
        t.same(read(name).slice(2), [20, 21], `${name} after a remount`)
      ok(t, fs.utimens('file', 0, UTIME_NOW, 0, UTIME_NOW), 'now')
      t.ok(lstat(t, fs, 'file').mtime > NOW)
      t.ok(lstat(t, fs, 'file').atime > NOW)
      t.equal(contents(fs, 'file'), 'text')
    },
  },
  {
    title: 'mtime and ctime move with write, truncate and fallocate',
    items: [file('f', 'x'.repeat(5000))],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      for (const [call, run] of [
        ['write', () => fs.pwrite(fd, Buffer.from('y'), 10)],
        ['ftruncate', () => fs.ftruncate(fd, 100)],
        ['fallocate', () => fs.fallocate(fd, 0, 0, 20000)],
        ['truncate', () => fs.truncate('f', 50)],
      ] as const) {
        ok(t, fs.utimens('f', 1, 0, 1, 0), 'utimens')
        ok(t, run(), call)
        const st = lstat(t, fs, 'f')
        t.ok(st.mtime > NOW, `${call} moves mtime`)
        t.ok(st.ctime > NOW, `${call} moves ctime`)
      }
      fs.close(fd)
    },
  },
  {
    title: 'opening and reading move no mtime',
    items: [file('f', 'text', { mtime: 1_100_000_000 })],
    run(t, { fs }) {
      fs.close(fs.open('f', O.RDWR))
      contents(fs, 'f')
      t.same([lstat(t, fs, 'f').mtime, lstat(t, fs, 'f').mtimeNs], [1_100_000_000, FIXED_NS])
    },
  },
  {
    title: 'truncate cuts, and extends with zeroes',
    items: [file('f', 'abcdefghij'), file('big', Buffer.alloc(300_000, 'z'))],
    run(t, { fs, tree }) {
      ok(t, fs.truncate('f', 4), 'down')
      t.equal(contents(fs, 'f'), 'abcd')
      ok(t, fs.truncate('f', 6), 'up')
      t.equal(contents(fs, 'f'), 'abcd\0\0')
      ok(t, fs.truncate('f', 0), 'to nothing')
      t.equal(contents(fs, 'f'), '')
      ok(t, fs.truncate('big', 100_001), 'a large one')
      const st = lstat(t, fs, 'big')
      t.equal(st.size, 100_001)
      ok(t, fs.truncate('big', 100_010), 'a little up')
      tree.remount()
      t.equal(contents(fs, 'big'), `${'z'.repeat(100_001)}${'\0'.repeat(9)}`)
      t.equal(contents(fs, 'f'), '')
    },
  },
  {
    title: 'truncate far up makes a hole, far down gives the space back',
    items: [file('f', 'head')],
    run(t, { fs }) {
      ok(t, fs.truncate('f', 5 * 2 ** 30), '5 GiB')
      const st = lstat(t, fs, 'f')
      t.equal(st.size, 5 * 2 ** 30)
      t.ok(st.blocks < 100, `few blocks: ${st.blocks}`)
      const fd = fs.open('f', O.RDONLY)
      t.equal((fs.pread(fd, 4, 5 * 2 ** 30 - 4) as Buffer).toString(), '\0\0\0\0')
      fs.close(fd)
      ok(t, fs.truncate('f', 4), 'back')
      t.equal(contents(fs, 'f'), 'head')
    },
  },
  {
    title: 'O_TRUNC empties a file and keeps its identity',
    items: [file('f', 'text', { mode: 0o604, uid: 3, gid: 4 })],
    run(t, { fs, tree }) {
      const before = lstat(t, fs, 'f')
      const fd = fs.open('f', O.WRONLY | O.TRUNC)
      ok(t, fd, 'open')
      t.equal(lstat(t, fs, 'f').size, 0, 'at once')
      ok(t, fs.pwrite(fd, Buffer.from('new'), 0), 'write')
      fs.close(fd)
      tree.remount()
      const after = lstat(t, fs, 'f')
      t.same([after.mode, after.uid, after.gid, after.ino], [before.mode, 3, 4, before.ino])
      t.equal(contents(fs, 'f'), 'new')
    },
  },
  {
    title: 'a created file has the mode asked for without the umask, and the creator as its owner',
    items: [dir('d', { mode: 0o777 })],
    run(t, { fs }) {
      fs.as({ ...ALICE, umask: 0o027 }, () => {
        t.equal(put(fs, 'd/f', 'x', 0o666), 'OK')
        ok(t, fs.mkdir('d/e', 0o777), 'mkdir')
        ok(t, fs.mknod('d/p', S.IFIFO | 0o666, 0), 'mknod')
        ok(t, fs.symlink('t', 'd/s'), 'symlink')
      })
      const facts = (n: string): number[] => {
        const st = lstat(t, fs, `d/${n}`)
        return [st.mode & 0o7777, st.uid, st.gid]
      }
      t.same(facts('f'), [0o640, 1001, 1001])
      t.same(facts('e'), [0o750, 1001, 1001])
      t.same(facts('p'), [0o640, 1001, 1001])
      t.same(facts('s'), [0o777, 1001, 1001])
    },
  },
  {
    title: 'a setgid directory gives its group to what is made in it, and its bit to directories',
    items: [dir('d', { mode: 0o2777, gid: 2000 })],
    run(t, { fs }) {
      fs.as(ALICE, () => {
        t.equal(put(fs, 'd/f', 'x', 0o644), 'OK')
        ok(t, fs.mkdir('d/e', 0o755), 'mkdir')
        ok(t, fs.symlink('t', 'd/s'), 'symlink')
      })
      t.same([lstat(t, fs, 'd/f').uid, lstat(t, fs, 'd/f').gid], [1001, 2000])
      t.same([lstat(t, fs, 'd/e').gid, lstat(t, fs, 'd/e').mode & 0o7777], [2000, 0o2755])
      t.equal(lstat(t, fs, 'd/s').gid, 2000)
    },
  },
  {
    title: 'a birth time is told, and is not after the change time',
    items: [file('f', 'x')],
    run(t, { fs, target }) {
      t.equal(put(fs, 'new', 'x'), 'OK')
      const st = lstat(t, fs, 'new')
      if (target.differences['btime'] !== undefined) return t.comment(`skip: ${target.differences['btime']}`)
      t.ok(st.btime > NOW, `btime ${st.btime}`)
      t.ok(st.btime <= st.ctime)
    },
  },
  {
    title: 'statfs tells of the filesystem below',
    run(t, { fs }) {
      const st = new StatFs()
      ok(t, fs.statfs(st), 'statfs')
      t.ok(st.blocks > 0 && st.bfree <= st.blocks && st.bavail <= st.bfree)
      t.equal(st.namelen, 255)
      t.ok(st.bsize >= 512)
    },
  },
  {
    title: 'calls on handles change the file they were opened for',
    difference: 'handle-metadata',
    items: [file('f', 'one'), file('g', 'two')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDONLY)
      ok(t, fs.rename('g', 'f'), 'another takes the name')
      ok(t, fs.fchmod(fd, 0o611), 'fchmod')
      ok(t, fs.fchown(fd, 8, 9), 'fchown')
      const st = new Stat()
      ok(t, fs.fstat(fd, st), 'fstat')
      t.same([st.mode & 0o7777, st.uid, st.gid], [0o611, 8, 9])
      t.same([lstat(t, fs, 'f').mode & 0o7777, lstat(t, fs, 'f').uid], [0o644, 0], 'the other is untouched')
      fs.close(fd)
      t.equal(hash(fs, 'f', 3).length, 12)
    },
  },
  {
    title: 'fchmod and fchown of a handle that only reads show in every handle and by name',
    items: [file('f', 'text')],
    run(t, { fs }) {
      const a = fs.open('f', O.RDONLY)
      const b = fs.open('f', O.RDONLY)
      ok(t, fs.fchmod(a, 0o600), 'fchmod')
      const st = new Stat()
      for (const [who, r] of [
        ['the same handle', () => fs.fstat(a, st)],
        ['another handle', () => fs.fstat(b, st)],
        ['the name', () => fs.stat('f', st)],
      ] as const) {
        ok(t, r(), who)
        t.equal(st.mode & 0o7777, 0o600, who)
      }
      t.equal((fs.pread(b, 4, 0) as Buffer).toString(), 'text')
      fs.close(a)
      fs.close(b)
      t.equal(contents(fs, 'f'), 'text')
    },
  },
]
