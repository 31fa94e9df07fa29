/**
 * Several processes do everything at once in one directory over lowers (xfstests generic 013, 070): afterwards the tree is
 * whole, the same after a remount, and every directory in it can be removed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { ok, outcome } from '../posix/case.js'
import { mountTarget } from '../posix/mount-target.js'
import { dir, file, hardlink, symlink, type Item } from '../posix/population.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { names, snapshot } from '../posix/snapshot.js'
import type { Vfs } from '../posix/vfs.js'

/** The names that the processes use, as directories and files of two lowers. */
const lower = (layer: number): Item[] =>
  'abcdefgh'
    .split('')
    .flatMap((name, i) =>
      (i + layer) % 3 === 0
        ? [file(name, `${layer}${name}`)]
        : [
            dir(name),
            file(`${name}/a`, `in ${name}`),
            hardlink(`${name}/b`, `${name}/a`),
            dir(`${name}/c`),
            file(`${name}/c/d`, 'deep'),
            dir(`${name}/c/e`),
            symlink(`${name}/f`, 'a'),
          ],
    )

const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const scratch = scratchDirectory(t)
  const first = Number(process.env['MODEL_SEED'] ?? 1)
  for (const passthrough of [true, false])
    await t.test(passthrough ? 'with passthrough' : 'without passthrough', async t => {
      const target = mountTarget(scratch, 'churn', { passthrough })
      const tree = target.make({ lowers: [lower(0), lower(1)] })
      const program = fileURLToPath(new URL('./churn.js', import.meta.url))
      const codes = await Promise.all(
        [0, 1, 2, 3].map(async i => {
          const child = spawn(process.execPath, [program, tree.path ?? '', String(first + i), '1200'], {
            stdio: ['ignore', 'inherit', 'inherit'],
          })
          return ((await once(child, 'exit')) as [number | null])[0]
        }),
      )
      t.same(codes, [0, 0, 0, 0], 'all went to their end')
      const whole = { times: false, directoryLinks: true }
      const before = snapshot(tree.fs, '', whole)
      t.same(
        before.filter(line => /\bE[A-Z]{2,}\b/.test(line.replace(/^\S+ link .*/, ''))),
        [],
        'every name can be looked at',
      )
      tree.remount()
      t.same(snapshot(tree.fs, '', whole), before, 'the same after a remount')
      empty(t, tree.fs, '')
      t.same(names(tree.fs, ''), [])
      tree.remount()
      t.same(names(tree.fs, ''), [], 'nothing comes back')
      t.same(tree.close(), [], 'lowers unchanged, nothing left in work')
      target.close()
    })
}

function empty(t: Test, fs: Vfs, path: string): void {
  const st = new Stat()
  for (const name of names(fs, path)) {
    const child = path === '' ? name : `${path}/${name}`
    ok(t, fs.stat(child, st), `stat ${child}`)
    if ((st.mode & S.IFMT) === S.IFDIR) {
      empty(t, fs, child)
      if (outcome(fs.rmdir(child)) !== 'OK') t.fail(`rmdir ${child}`)
    } else if (outcome(fs.unlink(child)) !== 'OK') t.fail(`unlink ${child}`)
  }
}
