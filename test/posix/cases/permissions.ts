/** Owns what must hold for users without privilege: who may do what, and which bits a change clears. */
import { O } from '../../../lib/sys/constants.js'
import { Stat, UTIME_NOW } from '../../../lib/sys/stat.js'
import { contents, fails, lstat, ok, outcome, put, type Case } from '../case.js'
import { dir, file, symlink } from '../population.js'
import { ALICE, BOB } from '../vfs.js'
import { acl } from './xattrs.js'

const ACCESS = 'system.posix_acl_access'

export const permissionCases: readonly Case[] = [
  {
    title: 'modes decide who reads, writes, searches and lists',
    kernel: true,
    items: [
      file('secret', 's', { mode: 0o600 }),
      file('group', 'g', { mode: 0o640, gid: 2000 }),
      file('mine', 'm', { mode: 0o400, uid: 1001 }),
      dir('closed', { mode: 0o700 }),
      file('closed/f'),
      dir('blind', { mode: 0o711 }),
      file('blind/f', 'seen', { mode: 0o644 }),
      dir('fixed', { mode: 0o755 }),
      file('fixed/f', 'f', { mode: 0o666 }),
    ],
    run(t, { fs }) {
      fs.as(ALICE, () => {
        fails(t, fs.open('secret', O.RDONLY), 'EACCES', 'read')
        fails(t, fs.open('group', O.RDONLY), 'EACCES', 'not in the group')
        t.equal(contents(fs, 'mine'), 'm', 'own')
        fails(t, fs.open('mine', O.WRONLY), 'EACCES', 'own, read only')
        fails(t, fs.stat('closed/f', new Stat()), 'EACCES', 'search')
        fails(t, fs.opendir('blind'), 'EACCES', 'list')
        t.equal(contents(fs, 'blind/f'), 'seen', 'search without list')
        fails(t, fs.mkdir('fixed/x', 0o755), 'EACCES', 'mkdir')
        fails(t, fs.unlink('fixed/f'), 'EACCES', 'unlink')
        fails(t, fs.rename('fixed/f', 'fixed/g'), 'EACCES', 'rename')
        fails(t, fs.symlink('x', 'fixed/s'), 'EACCES', 'symlink')
        fails(t, fs.truncate('secret', 0), 'EACCES', 'truncate')
        fails(t, fs.chmod('fixed/f', 0o777), 'EPERM', 'chmod')
        fails(t, fs.chown('mine', 0, -1), 'EPERM', 'chown')
        fails(t, fs.utimens('secret', 0, UTIME_NOW, 0, UTIME_NOW), 'EACCES', 'touch')
        fails(t, fs.utimens('fixed/f', 1, 0, 1, 0), 'EPERM', 'set times')
        fails(t, fs.setxattr('secret', 'user.a', Buffer.from('x')), 'EACCES', 'setxattr')
        const fd = fs.open('fixed/f', O.RDWR)
        ok(t, fd, 'what all may write')
        ok(t, fs.pwrite(fd, Buffer.from('F'), 0), 'write')
        fs.close(fd)
      })
      fs.as(BOB, () => t.equal(contents(fs, 'group'), 'g', 'in the group'))
      t.equal(contents(fs, 'fixed/f'), 'F')
      t.equal(lstat(t, fs, 'fixed/f').uid, 0, 'a copy made for a user keeps its owner')
    },
  },
  {
    title: 'in a sticky directory only owners remove and rename',
    kernel: true,
    items: [
      dir('tmp', { mode: 0o1777 }),
      file('tmp/alice', 'a', { uid: 1001, mode: 0o666 }),
      file('tmp/bob', 'b', { uid: 1002, mode: 0o666 }),
      dir('tmp/dir', { uid: 1002, mode: 0o777 }),
    ],
    run(t, { fs }) {
      fs.as(ALICE, () => {
        fails(t, fs.unlink('tmp/bob'), 'EPERM', "unlink another's")
        fails(t, fs.rename('tmp/bob', 'tmp/x'), 'EPERM', "rename another's")
        fails(t, fs.rename('tmp/alice', 'tmp/bob'), 'EPERM', "rename over another's")
        fails(t, fs.rmdir('tmp/dir'), 'EPERM', "rmdir another's")
        ok(t, fs.rename('tmp/alice', 'tmp/a'), 'rename the own')
        ok(t, fs.unlink('tmp/a'), 'unlink the own')
      })
    },
  },
  {
    title: 'a write or a truncate by a user clears suid, sgid and capabilities; by root only capabilities',
    kernel: true,
    items: ['write', 'truncate', 'otrunc', 'fallocate', 'root'].map(name =>
      file(name, 'binary text', { mode: 0o6777, uid: 1001, gid: 1001 }),
    ),
    run(t, { fs }) {
      const mode = (name: string): string => (lstat(t, fs, name).mode & 0o7777).toString(8)
      fs.as(ALICE, () => {
        const fd = fs.open('write', O.RDWR)
        t.equal(mode('write'), '6777', 'open for writing changes nothing')
        ok(t, fs.pwrite(fd, Buffer.from('x'), 0), 'write')
        t.equal(mode('write'), '777', 'write')
        fs.close(fd)
        ok(t, fs.truncate('truncate', 3), 'truncate')
        t.equal(mode('truncate'), '777', 'truncate')
        fs.close(fs.open('otrunc', O.WRONLY | O.TRUNC))
        t.equal(mode('otrunc'), '777', 'O_TRUNC')
        const out = fs.open('fallocate', O.WRONLY)
        ok(t, fs.fallocate(out, 0, 0, 5000), 'fallocate')
        t.equal(mode('fallocate'), '777', 'fallocate')
        fs.close(out)
      })
      const fd = fs.open('root', O.RDWR)
      ok(t, fs.pwrite(fd, Buffer.from('x'), 0), 'write as root')
      fs.close(fd)
      t.equal(mode('root'), '6777', 'root keeps them')
    },
  },
  {
    title: 'chmod by a user who is not in the group drops sgid',
    kernel: true,
    items: [
      file('f', 'x', { uid: 1001, gid: 2000, mode: 0o755 }),
      file('g', 'x', { uid: 1002, gid: 2000, mode: 0o755 }),
    ],
    run(t, { fs }) {
      fs.as(ALICE, () => ok(t, fs.chmod('f', 0o2755), 'chmod'))
      t.equal((lstat(t, fs, 'f').mode & 0o7777).toString(8), '755', 'not a member')
      fs.as(BOB, () => ok(t, fs.chmod('g', 0o2755), 'chmod'))
      t.equal((lstat(t, fs, 'g').mode & 0o7777).toString(8), '2755', 'a member')
    },
  },
  {
    title: 'an owner gives a file to a group of his, and to no other',
    kernel: true,
    items: [file('f', 'x', { uid: 1002, gid: 1002, mode: 0o2755 })],
    run(t, { fs }) {
      fs.as(BOB, () => {
        ok(t, fs.chown('f', -1, 2000), 'his group')
        fails(t, fs.chown('f', -1, 3000), 'EPERM', 'a foreign group')
      })
      t.same([lstat(t, fs, 'f').gid, lstat(t, fs, 'f').mode & 0o7777], [2000, 0o755])
    },
  },
  {
    title: 'a named user of an ACL gets what the mask leaves',
    kernel: true,
    items: [
      file('f', 'text', {
        mode: 0o600,
        xattrs: {
          [ACCESS]: acl([
            [1, 6],
            [2, 6, 1002],
            [4, 0],
            [16, 4],
            [32, 0],
          ]),
        },
      }),
    ],
    run(t, { fs }) {
      fs.as(BOB, () => {
        t.equal(contents(fs, 'f'), 'text', 'reads')
        fails(t, fs.open('f', O.WRONLY), 'EACCES', 'the mask stops writing')
      })
      fs.as(ALICE, () => fails(t, fs.open('f', O.RDONLY), 'EACCES', 'others do not'))
      ok(t, fs.chmod('f', 0o660), 'widen the mask')
      fs.as(BOB, () => t.equal(put(fs, 'f', 'bob'), 'OK', 'writes'))
    },
  },
  {
    title: 'a user works in a directory of his own as in any other',
    kernel: true,
    items: [dir('home', { uid: 1001, gid: 1001, mode: 0o700 }), file('home/f', 'mine', { uid: 1001, mode: 0o600 })],
    run(t, { fs }) {
      fs.as(ALICE, () => {
        t.equal(put(fs, 'home/f', 'changed'), 'OK')
        ok(t, fs.mkdir('home/d', 0o755), 'mkdir')
        ok(t, fs.rename('home/f', 'home/d/f'), 'rename')
        ok(t, fs.link('home/d/f', 'home/g'), 'link')
        ok(t, fs.symlink('g', 'home/s'), 'symlink')
        ok(t, fs.chmod('home/g', 0o644), 'chmod')
        ok(t, fs.setxattr('home/g', 'user.a', Buffer.from('x')), 'setxattr')
        ok(t, fs.rename('home/d', 'home/e'), 'rename a directory')
        ok(t, fs.unlink('home/e/f'), 'unlink')
        ok(t, fs.rmdir('home/e'), 'rmdir')
        t.equal(contents(fs, 'home/s'), 'changed')
      })
      t.equal(lstat(t, fs, 'home/g').uid, 1001)
      t.equal(lstat(t, fs, 'home/s').uid, 1001)
    },
  },
  {
    title: 'a name that a user could not remove is still there',
    kernel: true,
    items: [dir('d', { mode: 0o755 }), file('d/f', 'x'), symlink('d/s', 'f')],
    run(t, { fs }) {
      fs.as(ALICE, () => {
        for (const name of ['d/f', 'd/s']) t.equal(outcome(fs.unlink(name)), 'EACCES')
        t.equal(outcome(fs.rmdir('d')), 'EACCES')
      })
      t.equal(contents(fs, 'd/s'), 'x')
    },
  },
]
