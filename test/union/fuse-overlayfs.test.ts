/**
 * Layers that fuse-overlayfs wrote, several on top of each other, are read right, also where marks are nested and it reads
 * them wrong itself. The oracle is a plain directory to which the same was done.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { O } from '../../lib/sys/constants.js'
import { ok, put } from '../posix/case.js'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { dir, file, populate, symlink, type Item } from '../posix/population.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { names, snapshot } from '../posix/snapshot.js'
import type { Vfs } from '../posix/vfs.js'
import { Stack } from './stack.js'

const base: readonly Item[] = [
  dir('a'),
  dir('a/b'),
  dir('a/b/c'),
  file('a/b/c/old', 'old'),
  file('a/b/side', 'side'),
  dir('p'),
  file('p/old', 'old'),
  dir('p/sub'),
  file('p/sub/deep', 'deep'),
  dir('q'),
  file('q/old', 'old'),
  file('q/kept', 'kept'),
  dir('m'),
  dir('m/n'),
  file('m/n/one', '1'),
  file('m/n/two', '2'),
  file('f', 'f', { mode: 0o640 }),
  symlink('s', 'f'),
]

/** What is done in each layer, lowest first. Names in `a`, `p`, `q` are the nested cases. */
const sessions: readonly ((t: Test, fs: Vfs) => void)[] = [
  (t, fs) => {
    remove(t, fs, 'a')
    for (const path of ['a', 'a/b']) ok(t, fs.mkdir(path, 0o755), `${path}, again`)
    remove(t, fs, 'p')
    remove(t, fs, 'q')
    ok(t, fs.mkdir('q', 0o755), 'q, again')
    t.equal(put(fs, 'q/old', 'again'), 'OK')
    t.equal(put(fs, 'q/new', 'new'), 'OK')
    ok(t, fs.unlink('q/old'), 'a name that an opaque directory hides, made and removed')
    ok(t, fs.unlink('m/n/one'), 'unlink')
    ok(t, fs.chown('m/n/two', 12, 34), 'chown')
    ok(t, fs.chmod('m/n/two', 0o4700), 'chmod')
    t.equal(put(fs, 'f', 'changed'), 'OK')
  },
  (t, fs) => {
    ok(t, fs.mkdir('a/b/c', 0o755), 'below a mark two levels up')
    t.equal(put(fs, 'a/b/c/new', 'new'), 'OK')
    ok(t, fs.mkdir('p', 0o755), 'over a whiteout')
    t.equal(put(fs, 'p/new', 'new'), 'OK')
    ok(t, fs.unlink('q/new'), 'in a directory that is opaque below')
    t.equal(put(fs, 'm/n/one', 'one again'), 'OK')
    ok(t, fs.unlink('s'), 'unlink')
    ok(t, fs.mkdir('s', 0o700), 'a directory over a symlink')
    t.equal(put(fs, 's/in', 'in'), 'OK')
  },
  (t, fs) => {
    remove(t, fs, 'm')
    t.equal(put(fs, 'm', 'a file now'), 'OK')
    ok(t, fs.mkdir('p/sub', 0o755), 'a name that the base has')
    t.equal(put(fs, 'p/sub/fresh', 'fresh'), 'OK')
    remove(t, fs, 'a/b')
    ok(t, fs.mkdir('x', 0o711), 'mkdir')
    t.equal(put(fs, 'x/in', 'in'), 'OK')
    // One that only it has: others it does not rename (EXDEV).
    ok(t, fs.rename('x', 'a/b'), 'a new directory to a name that two layers have')
    ok(t, fs.rename('f', 'q/f'), 'a file')
  },
]

function remove(t: Test, fs: Vfs, path: string): void {
  for (const name of names(fs, path)) {
    const child = `${path}/${name}`
    const open = fs.open(child, O.RDONLY | O.DIRECTORY)
    if (open >= 0) {
      fs.close(open)
      remove(t, fs, child)
    } else ok(t, fs.unlink(child), `unlink ${child}`)
  }
  ok(t, fs.rmdir(path), `rmdir ${path}`)
}

const view = (fs: Vfs): string[] => snapshot(fs, '', { times: false, xattr: () => false })

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  for (const [i, options] of ['', ',xattr_permissions=2'].entries())
    await t.test(`layers as it writes them${options}`, async t => {
      const stack = new Stack(join(scratch, `stack${i}`), [base])
      const plain = join(scratch, `plain${i}`)
      mkdirSync(plain)
      populate(plain, base)
      const oracle = new DirectoryVfs(plain)
      for (const [n, session] of sessions.entries()) {
        const wrote = stack.fuseOverlayfs(fs => {
          session(t, fs)
          return true
        }, options)
        if (wrote === undefined) {
          t.comment('skip: fuse-overlayfs does not start here')
          break
        }
        session(t, oracle)
        // With owners in attributes it loses some in copies: then what it shows itself is what its layers say. They are read of
        // lowers only: an upper has them where the machine allows no others.
        const wanted = options === '' ? view(oracle) : stack.fuseOverlayfs(view, options)
        if (options === '') t.same(stack.union(view), wanted, `as the upper, with ${n} more layers of its below`)
        stack.stackUp()
        t.same(stack.union(view), wanted, `${n + 1} of its layers as lowers`)
      }
      oracle.detach()
      stack.remove()
    })
}
