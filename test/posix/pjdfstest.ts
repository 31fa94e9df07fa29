/**
 * Owns running pjdfstest on the mount, when it is there: PJDFSTEST names its built directory (with `pjdfstest` and `tests/`
 * in it). It is not part of this project.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mountTarget, type MountTargetOptions } from './mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'

/** The whole of it, as a test file. `title` says on what kind of mount. */
export async function pjdfstest(title: string, options: MountTargetOptions): Promise<void> {
  const home = process.env['PJDFSTEST']
  const missing =
    missingForTrees() ??
    missingForMounts() ??
    (home === undefined ? 'PJDFSTEST does not name a built pjdfstest' : undefined) ??
    (existsSync(join(home ?? '', 'pjdfstest')) ? undefined : `no pjdfstest in ${home}`) ??
    (existsSync('/usr/bin/prove') ? undefined : 'needs prove (perl)')
  if (missing !== undefined) {
    t.plan(0, missing)
    return
  }
  t.setTimeout(3_500_000)
  const target = mountTarget(scratchDirectory(t, true), title, options)
  const tree = target.make({ lowers: [[]] })
  const cwd = join(tree.path ?? '', 'here')
  mkdirSync(cwd)
  const run = spawnSync('prove', ['-j2', '-Q', '-r', join(home ?? '', 'tests')], {
    cwd,
    encoding: 'utf8',
    timeout: 3_400_000,
  })
  t.equal(run.status, 0, run.stdout.split('\n').slice(-40).join('\n'))
  t.match(run.stdout, /^Result: PASS$/m)
  const counts = /^Files=.*$/m.exec(run.stdout)?.[0] ?? 'nothing ran'
  t.match(counts, /^Files=238, Tests=8798\b/, counts)
  t.same(tree.close(), [])
  target.close()
}
