/** Owns what must hold for hard links, files without a name, and inode identity. */
import { O, S } from '../../../lib/sys/constants.js'
import { Stat } from '../../../lib/sys/stat.js'
import { contents, fails, lstat, ok, put, type Case } from '../case.js'
import { dir, file, hardlink, symlink } from '../population.js'
import { names } from '../snapshot.js'
import type { Vfs } from '../vfs.js'

const linked = [file('a', 'shared', { mode: 0o640 }), hardlink('b', 'a'), dir('d'), hardlink('d/c', 'a'), file('other')]

function read(fs: Vfs, fd: number): string {
  const data = fs.pread(fd, 1000, 0)
  return typeof data === 'number' ? String(data) : data.toString('latin1')
}

export const linkCases: readonly Case[] = [
  {
    title: 'names of one file share inode, attributes and contents, before and after a change, and after a remount',
    items: linked,
    run(t, { fs, tree }) {
      const all = ['a', 'b', 'd/c']
      const inodes = (): number[] => all.map(n => lstat(t, fs, n).ino)
      const before = inodes()
      t.equal(new Set(before).size, 1, 'one inode')
      for (const n of all) t.equal(lstat(t, fs, n).nlink, 3, `nlink of ${n}`)
      const fd = fs.open('b', O.WRONLY)
      ok(t, fs.pwrite(fd, Buffer.from('SHA'), 0), 'write through b')
      fs.close(fd)
      for (const n of all) t.equal(contents(fs, n), 'SHAred', `contents of ${n}`)
      ok(t, fs.chmod('d/c', 0o600), 'chmod through c')
      for (const n of all) t.equal(lstat(t, fs, n).mode & 0o7777, 0o600, `mode of ${n}`)
      t.same(inodes(), before, 'inode numbers stay')
      for (const n of all) t.equal(lstat(t, fs, n).nlink, 3, `nlink of ${n} after`)
      tree.remount()
      t.same(inodes(), before, 'inode numbers stay over a remount')
      for (const n of all) t.equal(contents(fs, n), 'SHAred', `contents of ${n} after a remount`)
      for (const n of all) t.equal(lstat(t, fs, n).nlink, 3, `nlink of ${n} after a remount`)
    },
  },
  {
    title: 'link counts go down name by name, and the last name keeps the file',
    items: linked,
    run(t, { fs, tree }) {
      ok(t, fs.unlink('a'), 'unlink a')
      t.equal(lstat(t, fs, 'b').nlink, 2)
      t.equal(lstat(t, fs, 'd/c').nlink, 2)
      tree.remount()
      t.equal(lstat(t, fs, 'b').nlink, 2, 'after a remount')
      ok(t, fs.unlink('d/c'), 'unlink c')
      t.equal(lstat(t, fs, 'b').nlink, 1)
      t.equal(contents(fs, 'b'), 'shared')
      t.equal(put(fs, 'b', 'mine'), 'OK')
      ok(t, fs.link('b', 'a'), 'link again')
      t.equal(lstat(t, fs, 'a').nlink, 2)
      t.equal(lstat(t, fs, 'a').ino, lstat(t, fs, 'b').ino)
      ok(t, fs.unlink('b'), 'unlink b')
      t.equal(contents(fs, 'a'), 'mine')
    },
  },
  {
    title: 'a new link: one more name of the same file, ctime moved, contents shared',
    items: [file('f', 'text'), dir('d')],
    run(t, { fs, tree }) {
      const before = lstat(t, fs, 'f')
      ok(t, fs.link('f', 'd/g'), 'link')
      const after = lstat(t, fs, 'd/g')
      t.equal(after.ino, before.ino)
      t.equal(after.nlink, 2)
      t.equal(lstat(t, fs, 'f').nlink, 2)
      t.same([after.mtime, after.mtimeNs], [before.mtime, before.mtimeNs], 'mtime kept')
      t.ok(after.ctime > 1_600_000_000, 'ctime is now')
      const fd = fs.open('d/g', O.RDWR | O.APPEND)
      ok(t, fs.write(fd, Buffer.from('!')), 'append')
      fs.close(fd)
      t.equal(contents(fs, 'f'), 'text!')
      tree.remount()
      t.equal(lstat(t, fs, 'f').ino, lstat(t, fs, 'd/g').ino)
      t.equal(lstat(t, fs, 'f').nlink, 2)
      t.equal(contents(fs, 'f'), 'text!')
    },
  },
  {
    title: 'symlinks, fifos and device nodes can be linked too',
    items: [symlink('s', 'target')],
    run(t, { fs }) {
      ok(t, fs.mknod('p', S.IFIFO | 0o600, 0), 'mknod')
      for (const n of ['s', 'p']) {
        ok(t, fs.link(n, `${n}2`), `link ${n}`)
        t.equal(lstat(t, fs, n).ino, lstat(t, fs, `${n}2`).ino)
        t.equal(lstat(t, fs, n).nlink, 2)
        ok(t, fs.unlink(n), 'unlink')
        t.equal(lstat(t, fs, `${n}2`).nlink, 1)
      }
      t.equal(fs.readlink('s2'), 'target')
    },
  },
  {
    title: 'a file that is unlinked while open goes on working, with nlink 0',
    difference: 'open-unlinked-nlink',
    items: [file('f', 'kept'), file('g', 'kept too')],
    run(t, { fs }) {
      const reader = fs.open('f', O.RDONLY)
      const writer = fs.open('g', O.RDWR)
      ok(t, fs.unlink('f'), 'unlink f')
      ok(t, fs.unlink('g'), 'unlink g')
      const st = new Stat()
      ok(t, fs.fstat(reader, st), 'fstat')
      t.equal(st.nlink, 0, 'nlink of the read file')
      t.equal(st.size, 4)
      t.equal(read(fs, reader), 'kept')
      ok(t, fs.pwrite(writer, Buffer.from('KEPT'), 0), 'write')
      t.equal(read(fs, writer), 'KEPT too')
      ok(t, fs.ftruncate(writer, 4), 'ftruncate')
      ok(t, fs.fchmod(writer, 0o400), 'fchmod')
      ok(t, fs.fchown(writer, 5, 6), 'fchown')
      ok(t, fs.fsync(writer), 'fsync')
      ok(t, fs.fstat(writer, st), 'fstat')
      t.same([st.nlink, st.size, st.mode & 0o7777, st.uid, st.gid], [0, 4, 0o400, 5, 6])
      t.equal(put(fs, 'f', 'another'), 'OK')
      t.equal(read(fs, reader), 'kept', 'a new file of that name is another')
      fails(t, fs.linkFd(reader, 'back'), 'ENOENT', 'no name again for an unlinked file')
      fs.close(reader)
      fs.close(writer)
      t.same(names(fs, ''), ['f'])
    },
  },
  {
    title: 'a file that is renamed over while open goes on working',
    items: [file('f', 'old'), file('g', 'new')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.rename('g', 'f'), 'rename')
      t.equal(read(fs, fd), 'old')
      ok(t, fs.pwrite(fd, Buffer.from('OLD'), 0), 'write')
      t.equal(contents(fs, 'f'), 'new')
      const st = new Stat()
      ok(t, fs.fstat(fd, st), 'fstat')
      t.equal(st.nlink, 0)
      fs.close(fd)
    },
  },
  {
    title: 'one of two names unlinked while open: the other still leads to the open file',
    items: [file('f', 'text'), hardlink('g', 'f')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.unlink('f'), 'unlink')
      ok(t, fs.pwrite(fd, Buffer.from('TEXT'), 0), 'write')
      t.equal(contents(fs, 'g'), 'TEXT')
      const st = new Stat()
      ok(t, fs.fstat(fd, st), 'fstat')
      t.equal(st.nlink, 1)
      fs.close(fd)
    },
  },
  {
    title: 'O_TMPFILE: a file without a name, until it gets one',
    items: [dir('d')],
    run(t, { fs, tree }) {
      const fd = fs.open('d', O.TMPFILE | O.RDWR, 0o640)
      ok(t, fd, 'open')
      const st = new Stat()
      ok(t, fs.fstat(fd, st), 'fstat')
      t.same([st.nlink, st.mode], [0, S.IFREG | 0o640])
      t.same(names(fs, 'd'), [])
      ok(t, fs.pwrite(fd, Buffer.from('secret'), 0), 'write')
      ok(t, fs.linkFd(fd, 'd/named'), 'linkat')
      ok(t, fs.fstat(fd, st), 'fstat')
      t.equal(st.nlink, 1)
      t.equal(lstat(t, fs, 'd/named').ino, st.ino)
      ok(t, fs.pwrite(fd, Buffer.from('SECRET'), 0), 'write on')
      fs.close(fd)
      t.equal(contents(fs, 'd/named'), 'SECRET')
      tree.remount()
      t.equal(contents(fs, 'd/named'), 'SECRET')
      t.equal(lstat(t, fs, 'd/named').mode, S.IFREG | 0o640)
    },
  },
  {
    title: 'O_TMPFILE with O_EXCL never gets a name',
    items: [dir('d')],
    run(t, { fs, target }) {
      const fd = fs.open('d', O.TMPFILE | O.EXCL | O.RDWR, 0o600)
      ok(t, fd, 'open')
      if (target.kernel) fails(t, fs.linkFd(fd, 'd/x'), 'ENOENT', 'linkat')
      fs.close(fd)
      t.same(names(fs, 'd'), [])
    },
  },
  {
    title: 'linkat of an open file gives it one more name',
    items: [file('f', 'text')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDONLY)
      ok(t, fs.linkFd(fd, 'g'), 'linkat')
      const st = new Stat()
      ok(t, fs.fstat(fd, st), 'fstat')
      t.equal(st.nlink, 2)
      t.equal(lstat(t, fs, 'g').ino, lstat(t, fs, 'f').ino)
      fs.close(fd)
    },
  },
  {
    title: 'inode and device numbers stay for life: through write, chmod, rename and remount',
    items: [file('f', 'x'), dir('d'), file('d/g'), symlink('s', 't')],
    run(t, { fs, tree }) {
      const id = (path: string): string => {
        const st = lstat(t, fs, path)
        return `${st.dev}:${st.ino}`
      }
      const before = ['f', 'd', 'd/g', 's'].map(id)
      const open = fs.open('f', O.RDONLY)
      t.equal(put(fs, 'f', 'changed'), 'OK')
      ok(t, fs.chmod('d', 0o700), 'chmod')
      ok(t, fs.chown('s', 7, 7), 'lchown')
      ok(t, fs.utimens('d/g', 5, 0, 5, 0), 'utimens')
      t.same(['f', 'd', 'd/g', 's'].map(id), before, 'after changes')
      const st = new Stat()
      ok(t, fs.fstat(open, st), 'fstat')
      t.equal(`${st.dev}:${st.ino}`, before[0], 'fstat of a handle older than the change')
      fs.close(open)
      ok(t, fs.rename('f', 'd/f'), 'rename')
      ok(t, fs.rename('d', 'e'), 'rename')
      t.same(['e/f', 'e', 'e/g', 's'].map(id), before, 'after renames')
      const device = Number(before[0]?.split(':')[0])
      tree.remount()
      // A mount's device number is its own; inode numbers are the files'.
      const ino = (path: string): number => lstat(t, fs, path).ino
      t.same(
        ['e/f', 'e', 'e/g', 's'].map(ino),
        before.map(b => Number(b.split(':')[1])),
        'after a remount',
      )
      t.ok(device >= 0)
    },
  },
  {
    title: 'all inode numbers of a tree are different',
    items: [file('f'), dir('d'), file('d/g'), symlink('s', 't'), dir('d/e')],
    run(t, { fs }) {
      t.equal(put(fs, 'new', ''), 'OK')
      ok(t, fs.mkdir('d/e/new', 0o755), 'mkdir')
      const all = ['', 'f', 'd', 'd/g', 's', 'd/e', 'new', 'd/e/new'].map(p => lstat(t, fs, p).ino)
      t.equal(new Set(all).size, all.length)
      t.equal(new Set(['', 'f', 'd', 'd/e', 'new'].map(p => lstat(t, fs, p).dev)).size, 1, 'one device')
    },
  },
]
