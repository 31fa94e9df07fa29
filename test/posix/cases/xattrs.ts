/** Owns what must hold for extended attributes and POSIX ACLs. */
import { E, errnoName } from '../../../lib/errno.js'
import { O, XATTR } from '../../../lib/sys/constants.js'
import { close, open } from '../../../lib/sys/file.js'
import { getxattrat } from '../../../lib/sys/xattr.js'
import { fails, lstat, ok, outcome, put, type Case } from '../case.js'
import { dir, fifo, file, symlink } from '../population.js'
import type { Vfs } from '../vfs.js'

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const ACCESS = 'system.posix_acl_access'
const DEFAULT = 'system.posix_acl_default'

/** One entry of an ACL: tag (1 owner, 2 user, 4 group, 8 named group, 16 mask, 32 other), permissions, id. */
type AclEntry = readonly [tag: number, perm: number, id?: number]

/** The kernel's xattr form of a POSIX ACL (linux/posix_acl_xattr.h): version 2, then tag, perm, id. */
export function acl(entries: readonly AclEntry[]): Buffer {
  const out = Buffer.alloc(4 + 8 * entries.length)
  out.writeUInt32LE(2, 0)
  entries.forEach(([tag, perm, id], i) => {
    out.writeUInt16LE(tag, 4 + i * 8)
    out.writeUInt16LE(perm, 6 + i * 8)
    out.writeUInt32LE(id ?? 0xffffffff, 8 + i * 8)
  })
  return out
}

export function aclOf(fs: Vfs, path: string, name: string): string {
  const value = fs.getxattr(path, name)
  if (typeof value === 'number') return errnoName(value)
  const words: string[] = []
  for (let at = 4; at < value.length; at += 8) {
    const id = value.readUInt32LE(at + 4)
    words.push(`${value.readUInt16LE(at)}${id === 0xffffffff ? '' : `(${id})`}:${value.readUInt16LE(at + 2)}`)
  }
  return words.join(' ')
}

const inherited = acl([
  [1, 7],
  [2, 6, 1002],
  [4, 5],
  [16, 7],
  [32, 4],
])

export const xattrCases: readonly Case[] = [
  {
    title: 'user attributes are for files and directories',
    items: [file('f'), dir('d'), symlink('s', 'f'), fifo('p')],
    run(t, { fs, tree }) {
      for (const path of ['f', 'd']) ok(t, fs.setxattr(path, 'user.a', bytes('x')), path)
      for (const path of ['s', 'p']) {
        fails(t, fs.setxattr(path, 'user.a', bytes('x')), 'EPERM', path)
        fails(t, fs.getxattr(path, 'user.a'), 'ENODATA', path)
        t.same(fs.listxattr(path), [])
        // Copying up gives them none either.
        ok(t, fs.chown(path, 0, 0), path)
        t.same(fs.listxattr(path), [])
      }
      tree.remount()
      for (const path of ['f', 'd']) t.same(fs.listxattr(path), ['user.a'])
      for (const path of ['s', 'p']) t.same(fs.listxattr(path), [])
      for (const path of ['f', 'd']) ok(t, fs.removexattr(path, 'user.a'), path)
      tree.remount()
      for (const path of ['f', 'd']) t.same(fs.listxattr(path), [])
    },
  },
  {
    title: 'attributes are set, replaced, listed and removed on every kind that may have them',
    items: [file('f'), dir('d'), symlink('s', 'f'), fifo('p')],
    run(t, { fs, tree }) {
      for (const [path, name] of [
        ['f', 'user.a'],
        ['d', 'user.a'],
        ['f', 'trusted.a'],
        ['d', 'trusted.a'],
        ['s', 'trusted.a'],
        ['p', 'trusted.a'],
        ['f', 'security.a'],
      ] as const) {
        const title = `${path} ${name}`
        fails(t, fs.getxattr(path, name), 'ENODATA', `${title}: none yet`)
        fails(t, fs.setxattr(path, name, bytes('x'), XATTR.REPLACE), 'ENODATA', `${title}: nothing to replace`)
        ok(t, fs.setxattr(path, name, bytes('one\0\xff'), XATTR.CREATE), `${title}: create`)
        fails(t, fs.setxattr(path, name, bytes('x'), XATTR.CREATE), 'EEXIST', `${title}: create twice`)
        t.equal(String((fs.getxattr(path, name) as Buffer).toString('latin1')), 'one\0\xff')
        ok(t, fs.setxattr(path, name, bytes(''), XATTR.REPLACE), `${title}: an empty value`)
        t.equal((fs.getxattr(path, name) as Buffer).length, 0)
        ok(t, fs.setxattr(path, name, bytes('two')), `${title}: set`)
        t.ok((fs.listxattr(path) as string[]).includes(name), `${title}: listed`)
      }
      tree.remount()
      t.same((fs.listxattr('f') as string[]).toSorted(), ['security.a', 'trusted.a', 'user.a'])
      t.same(fs.listxattr('s'), ['trusted.a'], 'the symlink has its own')
      t.equal(String(fs.getxattr('p', 'trusted.a')), 'two')
      ok(t, fs.removexattr('f', 'user.a'), 'remove')
      fails(t, fs.removexattr('f', 'user.a'), 'ENODATA', 'remove twice')
      fails(t, fs.getxattr('f', 'user.a'), 'ENODATA', 'gone')
      tree.remount()
      t.same((fs.listxattr('f') as string[]).toSorted(), ['security.a', 'trusted.a'])
    },
  },
  {
    title: 'attributes that were there are kept by every change, and can be changed and removed',
    items: [
      file('f', 'text', { xattrs: { 'user.keep': 'k', 'user.drop': 'd', 'trusted.t': 't', 'security.s': 's' } }),
      dir('d', { xattrs: { 'user.keep': 'k', 'user.drop': 'd' } }),
      symlink('s', 'f', { xattrs: { 'trusted.t': 't' } }),
    ],
    run(t, { fs, tree }) {
      ok(t, fs.chmod('f', 0o600), 'chmod')
      ok(t, fs.removexattr('f', 'user.drop'), 'remove')
      ok(t, fs.removexattr('d', 'user.drop'), 'remove of a directory')
      ok(t, fs.setxattr('d', 'user.new', bytes('n')), 'set on a directory')
      ok(t, fs.chown('s', 1, 1), 'lchown')
      tree.remount()
      t.same((fs.listxattr('f') as string[]).toSorted(), ['security.s', 'trusted.t', 'user.keep'])
      t.same((fs.listxattr('d') as string[]).toSorted(), ['user.keep', 'user.new'])
      t.equal(String(fs.getxattr('s', 'trusted.t')), 't')
      t.equal(put(fs, 'f', 'changed'), 'OK')
      t.equal(String(fs.getxattr('f', 'user.keep')), 'k')
      t.equal(String(fs.getxattr('f', 'trusted.t')), 't')
    },
  },
  {
    title: 'values up to what the filesystem below holds, and an error beyond it',
    items: [file('f', 'x')],
    run(t, { fs }) {
      const value = Buffer.alloc(3000, 'v')
      ok(t, fs.setxattr('f', 'user.big', value), '3000 bytes')
      t.ok((fs.getxattr('f', 'user.big') as Buffer).equals(value))
      t.not(outcome(fs.setxattr('f', 'user.huge', Buffer.alloc(65537))), 'OK', '65537 bytes')
      t.same(fs.listxattr('f'), ['user.big'])
    },
  },
  {
    title: 'an attribute set through a symlink does not land on its target',
    items: [file('f'), symlink('s', 'f'), symlink('out', '/etc/passwd')],
    run(t, { fs, tree, base }) {
      ok(t, fs.setxattr('s', 'trusted.mine', bytes('x')), 'set on the symlink')
      t.same(fs.listxattr('f'), [])
      ok(t, fs.setxattr('out', 'trusted.mine', bytes('x')), 'set on one that leads out')
      t.same(fs.listxattr('out'), ['trusted.mine'])
      const etc = open('/etc', O.PATH)
      t.equal(getxattrat(etc, 'passwd', 'trusted.mine'), -E.ENODATA, 'nothing on the file outside')
      close(etc)
      ok(t, fs.removexattr('out', 'trusted.mine'), 'removed again')
      // fuse-overlayfs 1.10 follows it into its own mount, and waits for itself.
      ok(t, fs.symlink(`${tree.path ?? ''}/${base}/f`, 'back'), 'a symlink back into the tree')
      ok(t, fs.setxattr('back', 'trusted.mine', bytes('x')), 'set on that one')
      t.same(fs.listxattr('back'), ['trusted.mine'])
      t.same(fs.listxattr('f'), [])
    },
  },
  {
    title: 'ctime moves with an attribute, mtime does not',
    items: [file('f', 'x', { mtime: 1_100_000_000 })],
    run(t, { fs }) {
      ok(t, fs.setxattr('f', 'user.a', bytes('x')), 'set')
      const st = lstat(t, fs, 'f')
      t.equal(st.mtime, 1_100_000_000)
      t.ok(st.ctime > 1_600_000_000)
    },
  },
  {
    title: 'a default ACL is inherited, and stands in for the umask',
    items: [dir('d', { mode: 0o777 }), dir('plain')],
    run(t, { fs, tree }) {
      ok(t, fs.setxattr('d', DEFAULT, inherited), 'set the default ACL')
      fs.as({ uid: 0, gid: 0, groups: [], umask: 0o077 }, () => {
        t.equal(put(fs, 'd/f', 'x', 0o666), 'OK')
        ok(t, fs.mkdir('d/e', 0o777), 'mkdir')
        t.equal(put(fs, 'd/e/g', 'x', 0o640), 'OK')
        ok(t, fs.mknod('d/p', 0o010666, 0), 'mknod')
        t.equal(put(fs, 'plain/f', 'x', 0o666), 'OK')
      })
      const check = (): void => {
        t.equal(aclOf(fs, 'd/f', ACCESS), '1:6 2(1002):6 4:5 16:6 32:4')
        t.equal((lstat(t, fs, 'd/f').mode & 0o777).toString(8), '664')
        t.equal(aclOf(fs, 'd/e', DEFAULT), '1:7 2(1002):6 4:5 16:7 32:4')
        t.equal(aclOf(fs, 'd/e', ACCESS), '1:7 2(1002):6 4:5 16:7 32:4')
        t.equal(aclOf(fs, 'd/e/g', ACCESS), '1:6 2(1002):6 4:5 16:4 32:0')
        t.equal((lstat(t, fs, 'd/p').mode & 0o777).toString(8), '664')
        t.equal((lstat(t, fs, 'plain/f').mode & 0o777).toString(8), '600', 'without one the umask counts')
      }
      check()
      tree.remount()
      check()
    },
  },
  {
    title: 'an access ACL and the mode are one: chmod moves the mask, the ACL moves the group bits',
    items: [
      file('f', 'x', {
        mode: 0o640,
        xattrs: {
          [ACCESS]: acl([
            [1, 6],
            [2, 7, 1002],
            [4, 4],
            [16, 7],
            [32, 0],
          ]),
        },
      }),
    ],
    run(t, { fs, tree }) {
      t.equal((lstat(t, fs, 'f').mode & 0o777).toString(8), '670', 'the mask shows as group')
      ok(t, fs.chmod('f', 0o640), 'chmod')
      t.equal(aclOf(fs, 'f', ACCESS), '1:6 2(1002):7 4:4 16:4 32:0')
      ok(
        t,
        fs.setxattr(
          'f',
          ACCESS,
          acl([
            [1, 7],
            [4, 5],
            [32, 1],
          ]),
        ),
        'an ACL that is a mode',
      )
      t.equal((lstat(t, fs, 'f').mode & 0o777).toString(8), '751')
      tree.remount()
      t.equal((lstat(t, fs, 'f').mode & 0o777).toString(8), '751')
      fails(t, fs.setxattr('f', DEFAULT, inherited), 'EACCES', 'no default ACL on a file')
      t.not(outcome(fs.setxattr('f', ACCESS, bytes('junk'))), 'OK', 'no junk')
    },
  },
  {
    title: 'file capabilities go when the file is written, cut or given away',
    items: ['w', 't', 'o', 'c'].map(name =>
      file(name, 'binary', {
        mode: 0o755,
        xattrs: { 'security.capability': Buffer.from('0100000202000000000000000000000000000000', 'hex') },
      }),
    ),
    run(t, { fs }) {
      ok(t, fs.getxattr('w', 'security.capability'), 'there')
      const fd = fs.open('w', O.WRONLY)
      ok(t, fs.pwrite(fd, bytes('x'), 0), 'write')
      fs.close(fd)
      fails(t, fs.getxattr('w', 'security.capability'), 'ENODATA', 'gone by write')
      ok(t, fs.truncate('t', 1), 'truncate')
      fails(t, fs.getxattr('t', 'security.capability'), 'ENODATA', 'gone by truncate')
      ok(t, fs.chown('o', 5, 5), 'chown')
      fails(t, fs.getxattr('o', 'security.capability'), 'ENODATA', 'gone by chown')
      ok(t, fs.chmod('c', 0o700), 'chmod')
      ok(t, fs.getxattr('c', 'security.capability'), 'kept by chmod')
    },
  },
]
