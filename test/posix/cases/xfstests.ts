/**
 * Owns behaviours that xfstests' generic group checks and fuse-overlayfs misses, each with the number it has there. Those that
 * need remounts, handles or several processes are in test/mount (read-only, file-handles) and test/model (churn).
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { bytesOf } from '../../../lib/bytes.js'
import { AT, O, RENAME, S, XATTR } from '../../../lib/sys/constants.js'
import { renameat2 } from '../../../lib/sys/dir.js'
import { Stat } from '../../../lib/sys/stat.js'
import { contents, fails, lstat, ok, put, type Case, type Context, type Test } from '../case.js'
import { chardev, dir, fifo, file, symlink } from '../population.js'
import { names, snapshot } from '../snapshot.js'
import { ALICE, BOB, type Vfs, type Who } from '../vfs.js'
import { acl, aclOf } from './xattrs.js'

const ACCESS = 'system.posix_acl_access'
const DEFAULT = 'system.posix_acl_default'

/** The three times of a name, as text each. */
function times(t: Test, fs: Vfs, path: string): { a: string; m: string; c: string } {
  const st = lstat(t, fs, path)
  return { a: `${st.atime}.${st.atimeNs}`, m: `${st.mtime}.${st.mtimeNs}`, c: `${st.ctime}.${st.ctimeNs}` }
}

/** Waits until what happens next has a later time than what is there: clocks of filesystems tick in milliseconds. */
function tick(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 25)
}

function moved(before: { a: string; m: string; c: string }, after: { a: string; m: string; c: string }): string {
  return [before.a !== after.a ? 'a' : '', before.m !== after.m ? 'm' : '', before.c !== after.c ? 'c' : ''].join('')
}

/** Whether `who` may execute the script `path`, as execve(2) finds it. (The way there is open to root alone.) */
function executes(c: Context, path: string, who: Who): boolean {
  const run = spawnSync(
    '/usr/bin/setpriv',
    [
      `--reuid=${who.uid}`,
      `--regid=${who.gid}`,
      ...(who.groups.length > 0 ? [`--groups=${who.groups.join(',')}`] : ['--clear-groups']),
      // setpriv itself still has the capabilities of root.
      'env',
      `./${path}`,
    ],
    { cwd: join(c.tree.path ?? '', c.base) },
  )
  return run.status === 0
}

const CAROL: Who = { uid: 1003, gid: 1003, groups: [], umask: 0 }

export const xfstestsCases: readonly Case[] = [
  {
    title: 'access times: the first read moves one, the next does not; entries and renames move what they should (003)',
    kernel: true,
    items: [dir('d'), file('d/f', 'text')],
    run(t, { fs, place }) {
      const start = times(t, fs, 'd/f')
      contents(fs, 'd/f')
      const first = times(t, fs, 'd/f')
      // Lowers are noatime; an upper is as its filesystem is mounted: relatime.
      t.equal(moved(start, first), place === 'upper' ? 'a' : '', 'the first read')
      contents(fs, 'd/f')
      t.equal(moved(first, times(t, fs, 'd/f')), '', 'the second')
      names(fs, 'd')
      const listed = times(t, fs, 'd')
      tick()
      t.equal(put(fs, 'd/new', 'new'), 'OK')
      t.equal(moved(listed, times(t, fs, 'd')), 'mc', 'an entry made')
      const made = times(t, fs, 'd')
      contents(fs, 'd/new')
      t.equal(moved(made, times(t, fs, 'd')), '', 'an entry read')
      const written = times(t, fs, 'd/new')
      tick()
      const fd = fs.open('d/new', O.WRONLY)
      ok(t, fs.pwrite(fd, Buffer.from('more'), 0), 'write')
      fs.close(fd)
      t.equal(moved(written, times(t, fs, 'd/new')), 'mc', 'written')
      const old = times(t, fs, 'd/new')
      tick()
      ok(t, fs.rename('d/new', 'd/newer'), 'rename')
      t.equal(moved(old, times(t, fs, 'd/newer')), 'c', 'renamed')
    },
  },
  {
    title: 'many attributes on one file: all listed, each read, removed one by one, and none that is not there (020)',
    items: [file('f'), dir('d')],
    run(t, { fs, tree }) {
      const all = Array.from({ length: 60 }, (_, i) => `user.attribute_${i}`)
      for (const path of ['f', 'd']) {
        t.same(fs.listxattr(path), [])
        fails(t, fs.removexattr(path, 'user.none'), 'ENODATA', 'none to remove')
        for (const [i, name] of all.entries()) ok(t, fs.setxattr(path, name, Buffer.from(`value_${i}`)), name)
        t.same((fs.listxattr(path) as string[]).toSorted(), all.toSorted())
        for (const [i, name] of all.entries()) t.equal(String(fs.getxattr(path, name)), `value_${i}`)
        for (const name of all.filter((_, i) => i % 2 === 0)) ok(t, fs.removexattr(path, name), name)
      }
      tree.remount()
      for (const path of ['f', 'd']) {
        t.same((fs.listxattr(path) as string[]).toSorted(), all.filter((_, i) => i % 2 === 1).toSorted())
        for (const name of all.filter((_, i) => i % 2 === 1)) ok(t, fs.removexattr(path, name), name)
        t.same(fs.listxattr(path), [])
      }
    },
  },
  {
    title: 'what a rename replaces has no link left for who holds it open: a file, a directory (035)',
    difference: 'open-unlinked-nlink',
    items: [file('f1', '1'), file('f2', '2'), dir('d1'), dir('d2')],
    run(t, { fs }) {
      const st = new Stat()
      for (const [from, to] of [
        ['f1', 'f2'],
        ['d1', 'd2'],
      ] as const) {
        const held = fs.open(to, O.RDONLY)
        ok(t, held, `open ${to}`)
        ok(t, fs.rename(from, to), `rename over ${to}`)
        ok(t, fs.fstat(held, st), 'fstat')
        t.equal(st.nlink, 0, `${to} as it was`)
        fs.close(held)
      }
      t.equal(contents(fs, 'f2'), '1')
      t.same(names(fs, ''), ['d2', 'f2'])
    },
  },
  {
    title: 'attributes of every kind of file are dumped, removed and restored (062)',
    items: [
      file('reg'),
      dir('dir'),
      symlink('lnk', 'dir'),
      dir('dev'),
      chardev('dev/c', 1, 3),
      fifo('dev/p'),
      file('dir/inside'),
    ],
    run(t, { fs, tree }) {
      ok(t, fs.mknod('dev/b', S.IFBLK | 0o600, 0x700), 'a block device')
      const kinds = ['reg', 'dir', 'lnk', 'dev/b', 'dev/c', 'dev/p', 'dir/inside']
      const namespaces = (path: string): string[] =>
        /^(reg|dir)/.test(path) ? ['user', 'trusted', 'security'] : ['trusted', 'security']
      for (const path of kinds)
        for (const namespace of namespaces(path)) {
          const [one, two] = [`${namespace}.name`, `${namespace}.name2`]
          ok(t, fs.setxattr(path, one, Buffer.alloc(0)), `${path}: ${one}, empty`)
          t.equal((fs.getxattr(path, one) as Buffer).length, 0)
          for (const value of ['babe', 'deadbeef', 'dead', 'decade', ''])
            ok(t, fs.setxattr(path, two, Buffer.from(value, 'hex')), `${path}: ${two}`)
          ok(t, fs.setxattr(path, one, Buffer.from('face', 'hex'), XATTR.REPLACE), 'replaced')
        }
      const dump = (): string[] => snapshot(fs, '', { times: false })
      const before = dump()
      for (const path of kinds)
        for (const name of fs.listxattr(path) as string[]) ok(t, fs.removexattr(path, name), `${path}: without ${name}`)
      tree.remount()
      for (const path of kinds) t.same(fs.listxattr(path), [], `${path}: nothing left`)
      for (const path of kinds)
        for (const namespace of namespaces(path)) {
          ok(t, fs.setxattr(path, `${namespace}.name`, Buffer.from('face', 'hex'), XATTR.CREATE), 'restored')
          ok(t, fs.setxattr(path, `${namespace}.name2`, Buffer.alloc(0), XATTR.CREATE), 'restored')
        }
      t.same(dump(), before)
    },
  },
  {
    title: 'RENAME_WHITEOUT from a user is EINVAL, as overlayfs says, and changes nothing (078)',
    kernel: true,
    layered: true,
    items: [file('a', 'A'), file('b', 'B'), dir('d'), symlink('s', 'a')],
    run(t, { fs, tree, base }) {
      const before = snapshot(fs)
      const at = bytesOf(join(tree.path ?? '', base))
      const { WHITEOUT, NOREPLACE, EXCHANGE } = RENAME
      const call = (from: string, to: string, flags: number): number =>
        renameat2(AT.FDCWD, `${at}/${from}`, AT.FDCWD, `${at}/${to}`, flags | WHITEOUT)
      for (const from of ['a', 'd', 's']) {
        fails(t, call(from, 'free', 0), 'EINVAL', `${from} to a free name`)
        fails(t, call(from, 'free', NOREPLACE), 'EINVAL', `${from} to a free name`)
        fails(t, call(from, 'b', EXCHANGE), 'EINVAL', `${from} and b`)
        // What is said before the filesystem is asked.
        fails(t, call(from, 'b', NOREPLACE), 'EEXIST', `${from} to a name that is there`)
        fails(t, call(from, 'b', 0), from === 'd' ? 'ENOTDIR' : 'EINVAL', `${from} over a file`)
      }
      t.same(snapshot(fs), before)
    },
  },
  {
    title: 'an ACL decides who executes: owner, named user, group, mask, others, each by its own entry alone (099)',
    kernel: true,
    items: [file('run', '#!/bin/true\n', { uid: 1001, gid: 1002, mode: 0o755 })],
    run(t, c) {
      const { fs } = c
      const members: readonly (readonly [string, Who])[] = [
        ['owner', ALICE],
        ['group', BOB],
        ['supplementary', { uid: 1004, gid: 1004, groups: [1002], umask: 0 }],
        ['other', CAROL],
      ]
      const who = (): string =>
        members
          .filter(([, w]) => executes(c, 'run', w))
          .map(([name]) => name)
          .join(' ')
      const set = (...entries: Parameters<typeof acl>[0]): void =>
        ok(t, fs.setxattr('run', ACCESS, acl(entries)), 'set')
      set([1, 5], [4, 0], [32, 0])
      t.equal(who(), 'owner')
      t.equal(lstat(t, fs, 'run').mode & 0o777, 0o500, 'an ACL of three entries is a mode')
      set([1, 0], [4, 5], [32, 0])
      t.equal(who(), 'group supplementary')
      set([1, 0], [4, 0], [32, 5])
      t.equal(who(), 'other')
      fails(
        t,
        fs.setxattr(
          'run',
          ACCESS,
          acl([
            [1, 0],
            [2, 5, CAROL.uid],
            [4, 0],
            [32, 0],
          ]),
        ),
        'EINVAL',
        'a named user needs a mask',
      )
      t.equal(who(), 'other', 'unchanged')
      set([1, 0], [2, 5, CAROL.uid], [4, 0], [16, 5], [32, 0])
      t.equal(who(), 'other')
      set([1, 0], [2, 5, CAROL.uid], [4, 5], [16, 4], [32, 5])
      t.equal(who(), '', 'the mask stops them all, and others are none of these')
      set([1, 0], [2, 0, CAROL.uid], [4, 5], [16, 5], [32, 5])
      t.equal(who(), 'group supplementary', 'a named user has no more than his entry')
      set([1, 0], [4, 0], [8, 5, 1003], [16, 5], [32, 0])
      t.equal(who(), 'other', 'a named group')
      ok(t, fs.removexattr('run', ACCESS), 'removed')
      ok(t, fs.chmod('run', 0o711), 'chmod')
    },
  },
  {
    title: 'a directory made below a default ACL of three entries has it, and its mode by it (319)',
    items: [dir('d')],
    run(t, { fs, tree }) {
      ok(
        t,
        fs.setxattr(
          'd',
          DEFAULT,
          acl([
            [1, 7],
            [4, 7],
            [32, 0],
          ]),
        ),
        'set',
      )
      ok(t, fs.mkdir('d/sub', 0o777), 'mkdir')
      tree.remount()
      for (const path of ['d', 'd/sub']) t.equal(aclOf(fs, path, DEFAULT), '1:7 4:7 32:0', path)
      t.equal(lstat(t, fs, 'd/sub').mode & 0o7777, 0o770)
      t.equal(aclOf(fs, 'd/sub', ACCESS), 'ENODATA')
    },
  },
  {
    title: 'sgid goes when an owner outside the group sets a mode or an ACL, and stays when he is in it (375)',
    kernel: true,
    items: [file('f', 'x', { uid: 1002, gid: 1002, mode: 0o755 }), dir('d', { uid: 1002, gid: 1002, mode: 0o755 })],
    run(t, { fs }) {
      const member: Who = { uid: 1002, gid: 1002, groups: [], umask: 0 }
      const stranger: Who = { uid: 1002, gid: 1001, groups: [], umask: 0 }
      const mode = (path: string): string => (lstat(t, fs, path).mode & 0o7777).toString(8)
      const open = acl([
        [1, 7],
        [4, 7],
        [32, 7],
      ])
      for (const path of ['f', 'd'])
        for (const [user, stays] of [
          [member, true],
          [stranger, false],
        ] as const) {
          ok(t, fs.chmod(path, 0o2755), 'chmod by root')
          fs.as(user, () => ok(t, fs.chmod(path, 0o2777), 'chmod'))
          t.equal(mode(path), stays ? '2777' : '777', `${path}: chmod`)
          ok(t, fs.chmod(path, 0o2755), 'chmod by root')
          fs.as(user, () => ok(t, fs.setxattr(path, ACCESS, open), 'set an ACL'))
          t.equal(mode(path), stays ? '2777' : '777', `${path}: an ACL`)
        }
      for (const path of ['f', 'd']) fs.as(ALICE, () => fails(t, fs.chmod(path, 0o2777), 'EPERM', 'not the owner'))
    },
  },
  {
    title: 'a subdirectory of a setgid directory with a default ACL is setgid, whoever makes it (444)',
    kernel: true,
    items: [dir('d', { uid: 1002, gid: 1002, mode: 0o2755 })],
    run(t, { fs, tree }) {
      ok(
        t,
        fs.setxattr(
          'd',
          DEFAULT,
          acl([
            [1, 7],
            [2, 7, 1001],
            [4, 5],
            [16, 7],
            [32, 5],
          ]),
        ),
        'set',
      )
      fs.as({ uid: 1002, gid: 1002, groups: [], umask: 0o022 }, () => ok(t, fs.mkdir('d/in', 0o777), 'in the group'))
      fs.as({ uid: 1002, gid: 1001, groups: [], umask: 0o022 }, () => ok(t, fs.mkdir('d/out', 0o777), 'not in it'))
      tree.remount()
      for (const path of ['d/in', 'd/out']) {
        const st = lstat(t, fs, path)
        t.same([(st.mode & 0o7777).toString(8), st.gid], ['2775', 1002], path)
      }
    },
  },
]
