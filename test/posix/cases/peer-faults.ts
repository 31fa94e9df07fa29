/**
 * Owns the faults seen in fuse-overlayfs 1.10, each as a behaviour that must hold here: names at the limits and xattrs on
 * symlinks are in names.ts and xattrs.ts; this is the rest.
 */
import { makedev, O, S } from '../../../lib/sys/constants.js'
import { Stat, UTIME_NOW, UTIME_OMIT } from '../../../lib/sys/stat.js'
import { contents, fails, lstat, ok, outcome, put, type Case } from '../case.js'
import { chardev, dir, file, hardlink, opaque, symlink, whiteout } from '../population.js'
import { names } from '../snapshot.js'

export const peerFaultCases: readonly Case[] = [
  {
    title: 'mknod of char 0:0 is refused or makes a device; it hides nothing and breaks no listing',
    items: [dir('d'), file('d/f', 'text'), dir('d/e')],
    run(t, { fs, tree, target }) {
      const made = outcome(fs.mknod('d/zero', S.IFCHR | 0o600, 0))
      t.ok(made === 'EPERM' || made === 'OK', made)
      if (target.layered) t.equal(made, 'EPERM', 'a layered tree cannot hold one')
      ok(t, fs.unlink('d/f'), 'unlink')
      t.not(outcome(fs.mknod('d/e', S.IFCHR | 0o600, 0)), 'OK', 'over a directory')
      if (made === 'OK') ok(t, fs.unlink('d/zero'), 'unlink')
      t.same(names(fs, 'd'), ['e'])
      tree.remount()
      t.same(names(fs, 'd'), ['e'])
      ok(t, fs.rmdir('d/e'), 'rmdir')
      ok(t, fs.rmdir('d'), 'rmdir')
    },
  },
  {
    title: 'device nodes below a user’s tree can be chowned, renamed and removed',
    items: [chardev('null', 1, 3, { mode: 0o666 }), chardev('d/tty', 5, 0)],
    run(t, { fs, tree }) {
      ok(t, fs.chown('null', 1001, 1001), 'chown')
      ok(t, fs.chown('d/tty', 1001, -1), 'chown')
      ok(t, fs.rename('null', 'd/null'), 'rename')
      tree.remount()
      const st = lstat(t, fs, 'd/null')
      t.same([st.uid, st.gid, st.rdev], [1001, 1001, makedev(1, 3)])
      ok(t, fs.unlink('d/tty'), 'unlink')
      ok(t, fs.unlink('d/null'), 'unlink')
      ok(t, fs.rmdir('d'), 'rmdir')
    },
  },
  {
    title: 'after a storm of renames and removals every directory can be removed',
    items: [dir('a'), dir('a/b'), file('a/b/f'), dir('c'), file('c/f'), dir('c/d'), hardlink('c/d/g', 'c/f')],
    run(t, { fs, tree }) {
      ok(t, fs.rename('a/b', 'c/b'), 'move in')
      ok(t, fs.rename('c/d', 'a/d'), 'move out')
      ok(t, fs.rename('a', 'c/a'), 'nest')
      ok(t, fs.mkdir('a', 0o755), 'old name')
      ok(t, fs.rename('c/a/d', 'a/d'), 'out of the nested one')
      ok(t, fs.rename('c/b', 'a/b'), 'back')
      ok(t, fs.rename('a/b/f', 'c/a/f'), 'a file')
      tree.remount()
      const empty = (path: string): void => {
        for (const name of names(fs, path)) {
          const child = path === '' ? name : `${path}/${name}`
          const st = lstat(t, fs, child)
          if ((st.mode & S.IFMT) === S.IFDIR) {
            empty(child)
            ok(t, fs.rmdir(child), `rmdir ${child}`)
          } else ok(t, fs.unlink(child), `unlink ${child}`)
        }
      }
      empty('')
      t.same(names(fs, ''), [])
    },
  },
  {
    title: 'nlink of an open file goes down to 0 as its names go',
    items: [file('f'), hardlink('g', 'f')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDONLY)
      const st = new Stat()
      for (const [name, left] of [
        ['f', 1],
        ['g', 0],
      ] as const) {
        ok(t, fs.unlink(name), 'unlink')
        ok(t, fs.fstat(fd, st), 'fstat')
        t.equal(st.nlink, left, `after ${name}`)
      }
      fs.close(fd)
    },
  },
  {
    title: 'utimensat: OMIT and NOW in every combination, on files and symlinks, by the owner and by a writer',
    items: [file('f', 'x', { uid: 1001, mode: 0o666 }), symlink('s', 'f')],
    run(t, { fs }) {
      for (const name of ['f', 's']) {
        ok(t, fs.utimens(name, 1, 1, 2, 2), 'set')
        ok(t, fs.utimens(name, 0, UTIME_OMIT, 0, UTIME_OMIT), 'both omitted')
        const st = lstat(t, fs, name)
        t.same([st.atime, st.atimeNs, st.mtime, st.mtimeNs], [1, 1, 2, 2])
        ok(t, fs.utimens(name, 0, UTIME_NOW, 0, UTIME_OMIT), 'now and omitted')
        t.ok(lstat(t, fs, name).atime > 1_600_000_000)
        t.equal(lstat(t, fs, name).mtime, 2)
        ok(t, fs.utimens(name, 5, 6, 0, UTIME_NOW), 'set and now')
        t.equal(lstat(t, fs, name).atime, 5)
        t.ok(lstat(t, fs, name).mtime > 1_600_000_000)
      }
    },
  },
  {
    title: 'opaque marks two levels up, a whiteout of a parent that was made again, a whiteout in an opaque directory',
    layers: {
      lowers: [
        [dir('a'), dir('a/b'), dir('a/b/c'), file('a/b/c/old'), dir('p'), file('p/old'), dir('q'), file('q/old')],
        [dir('a'), opaque('a'), dir('a/b'), whiteout('p'), dir('q'), opaque('q'), whiteout('q/old')],
        [dir('a'), dir('a/b'), dir('a/b/c'), file('a/b/c/new'), dir('p'), file('p/new'), dir('q'), file('q/new')],
      ],
    },
    run(t, { fs, tree }) {
      const check = (): void => {
        t.same(names(fs, 'a/b/c'), ['new'])
        t.same(names(fs, 'p'), ['new'])
        t.same(names(fs, 'q'), ['new'])
      }
      check()
      for (const path of ['a/b/c/old', 'p/old', 'q/old']) fails(t, fs.open(path, O.RDONLY), 'ENOENT', path)
      for (const path of ['a/b/c/old', 'p/old', 'q/old']) t.equal(put(fs, path, 'mine'), 'OK')
      for (const path of ['a/b/c/old', 'p/old', 'q/old']) ok(t, fs.unlink(path), path)
      tree.remount()
      check()
      ok(t, fs.chmod('a/b/c', 0o700), 'copy the parents up')
      tree.remount()
      check()
      t.equal(contents(fs, 'a/b/c/new'), 'a/b/c/new')
    },
  },
]
