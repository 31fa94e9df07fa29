/** Owns running every workload on a mount and on the host, and comparing what they leave. */
import { join } from 'node:path'
import t from 'tap'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { mountTarget, type MountTargetOptions } from '../posix/mount-target.js'
import { dir } from '../posix/population.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { snapshot } from '../posix/snapshot.js'
import { lacking, run, workloads } from './workloads.js'

export async function runWorkloads(kind: string, options: MountTargetOptions): Promise<void> {
  const missing = missingForTrees() ?? missingForMounts()
  if (missing !== undefined) {
    t.plan(0, missing)
    return
  }
  t.setTimeout(600_000)
  const scratch = scratchDirectory(t)
  const target = mountTarget(scratch, kind, options)
  const tree = target.make({ lowers: [[dir('low')]] })
  const host = new DirectoryVfs(scratch)
  for (const [i, workload] of workloads.entries()) {
    const reason = lacking(workload)
    await t.test(workload.title, reason === undefined ? {} : { skip: reason }, async t => {
      const names = { mount: `low/w${i}`, host: `host-${kind}-w${i}`.replaceAll(' ', '-') }
      t.equal(run(workload, join(tree.path ?? '', names.mount), scratch), undefined, 'on the mount')
      t.equal(run(workload, join(scratch, names.host), scratch), undefined, 'on the host')
      const how = { times: false, directoryLinks: true, contents: workload.contents ?? true }
      const lines = (fs: DirectoryVfs, path: string): string[] =>
        snapshot(fs, path, how)
          .map(line => line.slice(path.length))
          .filter(line => !(workload.volatile?.test(line) ?? false))
      const [found, wanted] = [lines(tree.fs as DirectoryVfs, names.mount), lines(host, names.host)]
      t.ok(found.length > 0, `${found.length} names compared`)
      t.same(found, wanted, 'the same tree')
    })
  }
  host.detach()
  t.same(tree.close(), [], 'lowers unchanged, nothing left in work')
  target.close()
}
