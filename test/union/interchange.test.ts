/**
 * The upper on disk is overlayfs's: what the union wrote the kernel mounts with the same result, and the other way round.
 */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { O, RENAME, S } from '../../lib/sys/constants.js'
import { contents, ok, put } from '../posix/case.js'
import { dir, file, hardlink, type Item, symlink, whiteout, chardev } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { snapshot } from '../posix/snapshot.js'
import type { Vfs } from '../posix/vfs.js'
import { Stack } from './stack.js'

const base: readonly Item[] = [
  file('a', 'base a'),
  file('b', 'base b', { mode: 0o4755 }),
  file('big', Buffer.alloc(200_000, 'x')),
  file('long', 'metadata only', { xattrs: { 'user.k': 'v', 'trusted.t': 'w' } }),
  hardlink('h1', 'a'),
  hardlink('h2', 'a'),
  symlink('s', 'a'),
  chardev('null', 1, 3),
  file('d/one', '1'),
  file('d/two', '2'),
  file('d/sub/three', '3'),
  file('moved/deep/er/f', 'deep'),
  file('swap1/f', 's1'),
  file('swap2/g', 's2'),
  file('emptied/x', 'x'),
  file('again/old', 'old'),
]
const middle: readonly Item[] = [
  file('b', 'middle b'),
  file('d/two', 'middle 2'),
  file('d/four', '4'),
  whiteout('d/one'),
  dir('only-middle'),
  file('only-middle/m', 'm'),
]

interface Step {
  readonly name: string
  run(t: Test, fs: Vfs): void
}

const steps: readonly Step[] = [
  {
    name: 'attributes of files, directories, symlinks and devices',
    run(t, fs) {
      ok(t, fs.chmod('long', 0o600), 'chmod')
      ok(t, fs.chown('b', 12, 34), 'chown')
      ok(t, fs.chown('s', 5, 6), 'lchown')
      ok(t, fs.chown('null', 7, 8), 'chown of a device')
      ok(t, fs.setxattr('long', 'user.new', Buffer.from('n')), 'setxattr')
      ok(t, fs.removexattr('long', 'user.k'), 'removexattr')
      ok(t, fs.utimens('d', 1000, 1, 2000, 2), 'utimens')
    },
  },
  {
    name: 'data written after a change of attributes',
    run(t, fs) {
      ok(t, fs.chmod('big', 0o640), 'chmod')
      const fd = fs.open('big', O.RDWR)
      ok(t, fs.pwrite(fd, Buffer.from('changed'), 100_000), 'pwrite')
      fs.close(fd)
    },
  },
  {
    name: 'new names, also over removed ones',
    run(t, fs) {
      ok(t, fs.unlink('a'), 'unlink')
      t.equal(put(fs, 'a', 'new a'), 'OK')
      ok(t, fs.unlink('again/old'), 'unlink')
      ok(t, fs.rmdir('again'), 'rmdir')
      ok(t, fs.mkdir('again', 0o700), 'mkdir')
      t.equal(put(fs, 'again/new', 'new'), 'OK')
      ok(t, fs.mkdir('pure', 0o755), 'mkdir')
      ok(t, fs.mkdir('pure/in', 0o755), 'mkdir')
      ok(t, fs.symlink('target', 'pure/link'), 'symlink')
      ok(t, fs.mknod('pure/fifo', S.IFIFO | 0o600, 0), 'mkfifo')
    },
  },
  {
    name: 'hard links of a lower file: one changed, one removed, one added',
    run(t, fs) {
      ok(t, fs.chmod('h1', 0o604), 'chmod')
      ok(t, fs.link('h1', 'pure/h3'), 'link')
      ok(t, fs.unlink('h2'), 'unlink')
    },
  },
  {
    name: 'directories renamed: beside, elsewhere, twice, into a new one, with what they had changed',
    run(t, fs) {
      ok(t, fs.rename('moved', 'moved2'), 'beside')
      ok(t, fs.rename('moved2/deep', 'pure/deep'), 'out of it')
      ok(t, fs.chmod('pure/deep/er/f', 0o611), 'chmod inside')
      ok(t, fs.rename('pure/deep', 'deep'), 'again')
      ok(t, fs.rename('only-middle', 'pure/in/om'), 'into a new one')
      ok(t, fs.rename('d/sub', 'd/sub2'), 'inside')
      ok(t, fs.rename('swap1', 'swap2', RENAME.EXCHANGE), 'exchange')
    },
  },
  {
    name: 'metadata copies renamed and linked',
    run(t, fs) {
      ok(t, fs.chmod('d/four', 0o640), 'chmod')
      ok(t, fs.rename('d/four', 'pure/four'), 'rename')
      ok(t, fs.link('pure/four', 'd/four-too'), 'link')
      ok(t, fs.rename('long', 'long2'), 'rename')
    },
  },
  {
    name: 'a lower directory emptied, replaced by another, and files replaced',
    run(t, fs) {
      ok(t, fs.unlink('emptied/x'), 'unlink')
      ok(t, fs.mkdir('fresh', 0o755), 'mkdir')
      t.equal(put(fs, 'fresh/f', 'fresh'), 'OK')
      ok(t, fs.rename('fresh', 'emptied'), 'rename over it')
      t.equal(put(fs, 'tmp', 'replacement'), 'OK')
      ok(t, fs.rename('tmp', 'b'), 'rename over a file')
      ok(t, fs.rename('b', 'd/two'), 'and away, over another')
    },
  },
  {
    name: 'metadata copies that were renamed within their directory, renamed out of it',
    run(t, fs) {
      ok(t, fs.rename('long2', 'pure/long3'), 'rename')
      ok(t, fs.rename('pure/four', 'four'), 'rename')
      t.equal(contents(fs, 'pure/long3'), 'metadata only')
    },
  },
]

const options = { directoryLinks: false, times: true }
/** A directory's times of now differ between the two runs of the writers, not between two readers of one upper. */
const view = (fs: Vfs): string[] => snapshot(fs, '', options)

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  let count = 0
  const fresh = (): Stack => new Stack(join(scratch, String(count++)), [base, middle])

  t.test('the kernel reads what the union wrote, after every step', async t => {
    const stack = fresh()
    for (const step of steps) {
      await t.test(step.name, async t => {
        const ours = stack.union(fs => {
          step.run(t, fs)
          return view(fs)
        })
        t.same(stack.union(view), ours, 'the union, mounted again')
        t.same(stack.kernel(view), ours, 'the kernel')
      })
    }
    stack.remove()
  })

  t.test('the union reads what the kernel wrote, after every step', async t => {
    const stack = fresh()
    for (const step of steps) {
      await t.test(step.name, async t => {
        const theirs = stack.kernel(fs => {
          step.run(t, fs)
          return view(fs)
        })
        t.same(stack.union(view), theirs)
      })
    }
    stack.remove()
  })

  t.test('both write in turn', async t => {
    const stack = fresh()
    for (const [i, step] of steps.entries()) {
      await t.test(step.name, async t => {
        const writer = (fs: Vfs): string[] => {
          step.run(t, fs)
          return view(fs)
        }
        const written = i % 2 === 0 ? stack.union(writer) : stack.kernel(writer)
        t.same(i % 2 === 0 ? stack.kernel(view) : stack.union(view), written)
      })
    }
    stack.remove()
  })

  t.test('without metadata copies, redirects and index the plain kernel reads it', async t => {
    const stack = fresh()
    const plain = 'userxattr'
    const written = stack.union(
      fs => {
        ok(t, fs.chmod('long', 0o600), 'chmod')
        ok(t, fs.unlink('d/two'), 'unlink')
        ok(t, fs.mkdir('new', 0o755), 'mkdir')
        t.equal(fs.rename('d', 'e'), -18, 'a lower directory is not renamed')
        ok(t, fs.rename('new', 'newer'), 'a new one is')
        return view(fs)
      },
      { passthrough: false },
      { xattrs: 'user', kernelCompatible: true },
    )
    t.same(stack.kernel(view, plain), written)
    stack.remove()
  })
}
