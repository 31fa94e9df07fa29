/**
 * Owns running workloads on the host and on a mount, and comparing what they leave. One that needs what may be missing (the
 * network) and fails on the host is skipped, with what it said there.
 */
import { join } from 'node:path'
import t from 'tap'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { mountTarget, type MountTargetOptions } from '../posix/mount-target.js'
import { dir } from '../posix/population.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { snapshot } from '../posix/snapshot.js'
import { lacking, run, type Workload } from './workloads.js'

/** Scratch for `runWorkloads` that is on the disk. */
export const onDisk = (test: typeof t): string => scratchDirectory(test, true)

/** Runs `workloads` on a mount of `options`, called `kind`, in the scratch that `place` makes. A whole test file. */
export async function runWorkloads(
  kind: string,
  options: MountTargetOptions,
  workloads: readonly Workload[],
  place: (test: typeof t) => string = scratchDirectory,
): Promise<void> {
  const missing = (place === scratchDirectory ? missingForTrees() : undefined) ?? missingForMounts()
  if (missing !== undefined) {
    t.plan(0, missing)
    return
  }
  t.setTimeout(3_500_000)
  const scratch = place(t)
  const target = mountTarget(scratch, kind, options)
  const tree = target.make({ lowers: [[dir('low')]] })
  const host = new DirectoryVfs(scratch)
  for (const [i, workload] of workloads.entries()) {
    const reason = lacking(workload)
    await t.test(workload.title, reason === undefined ? {} : { skip: reason }, async t => {
      const names = { mount: `low/w${i}`, host: `host-${kind}-w${i}`.replaceAll(' ', '-') }
      const onHost = run(workload, join(scratch, names.host), scratch)
      if (onHost !== undefined && workload.outside === true) {
        t.plan(0, `fails on the host: ${onHost.slice(-300)}`)
        return
      }
      t.equal(onHost, undefined, 'on the host')
      t.equal(run(workload, join(tree.path ?? '', names.mount), scratch), undefined, 'on the mount')
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
