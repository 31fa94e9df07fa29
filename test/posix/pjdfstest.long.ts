/**
 * pjdfstest on the mount, when it is there: PJDFSTEST names its built directory (with `pjdfstest` and `tests/` in it).
 * It is not part of this project.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mountTarget, type MountTargetOptions } from './mount-target.js'
import { missingForMounts, missingForTrees, scratchDirectory } from './scratch.js'

const home = process.env['PJDFSTEST']
const missing =
  missingForTrees() ??
  missingForMounts() ??
  (home === undefined ? 'PJDFSTEST does not name a built pjdfstest' : undefined) ??
  (existsSync(join(home ?? '', 'pjdfstest')) ? undefined : `no pjdfstest in ${home}`) ??
  (existsSync('/usr/bin/prove') ? undefined : 'needs prove (perl)')
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(3_500_000)
  const scratch = scratchDirectory(t, true)
  const kinds: [string, MountTargetOptions][] = [
    ['passthrough', {}],
    ['an image lower', { indexed: true }],
    ['no passthrough', { passthrough: false }],
  ]
  for (const [title, options] of kinds)
    await t.test(`pjdfstest, ${title}`, async t => {
      const target = mountTarget(scratch, title, options)
      const tree = target.make({ lowers: [[]] })
      const cwd = join(tree.path ?? '', 'here')
      mkdirSync(cwd)
      const run = spawnSync('prove', ['-j2', '-Q', '-r', join(home ?? '', 'tests')], {
        cwd,
        encoding: 'utf8',
        timeout: 1_500_000,
      })
      t.equal(run.status, 0, run.stdout.split('\n').slice(-40).join('\n'))
      t.match(run.stdout, /^Result: PASS$/m)
      t.comment(/^Files=.*$/m.exec(run.stdout)?.[0])
      t.same(tree.close(), [])
      target.close()
    })
}
