/** An upper without space: the caller gets ENOSPC, nothing is torn, and when there is room again all goes on. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { check } from '../../lib/errno.js'
import { MNT, O } from '../../lib/sys/constants.js'
import { mount, umount } from '../../lib/sys/mount.js'
import { StatFs } from '../../lib/sys/stat.js'
import { contents, fails, ok, outcome, put } from '../posix/case.js'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { difference, fingerprint } from '../posix/fingerprint.js'
import { leftInWork } from '../posix/layered-files.js'
import { MountHost } from '../posix/mount-host.js'
import { dir, file, populate } from '../posix/population.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { snapshot } from '../posix/snapshot.js'

const MiB = 1 << 20
const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  const [lower, disk, point] = ['lower', 'disk', 'point'].map(name => join(scratch, name)) as [string, string, string]
  for (const path of [lower, disk, point]) mkdirSync(path)
  populate(lower, [
    dir('d'),
    file('d/large', Buffer.alloc(6 * MiB, 'L'), { mode: 0o640, xattrs: { 'user.a': 'x' } }),
    file('d/small', 'small'),
  ])
  const before = fingerprint(lower)
  check(mount('lamina-test', disk, 'tmpfs', 0, 'size=4m'), 'mount', disk)
  const [upper, work] = [join(disk, 'upper'), join(disk, 'work')]
  for (const path of [upper, work]) mkdirSync(path)
  const host = new MountHost(scratch)
  for (const passthrough of [true, false])
    await t.test(passthrough ? 'with passthrough' : 'without passthrough', async t => {
      const spec = { lowers: [{ kind: 'directory', path: lower } as const], upper, work, passthrough }
      host.order({ op: 'mount', spec, mountpoint: point })
      const fs = new DirectoryVfs(point)
      const how = { directoryTimes: false }
      const whole = snapshot(fs, 'd', how)

      fails(t, fs.open('d/large', O.RDWR), 'ENOSPC', 'a copy-up that does not fit')
      fails(t, fs.truncate('d/large', 5 * MiB), 'ENOSPC', 'a truncate that does not fit')
      t.same(snapshot(fs, 'd', how), whole, 'the file is as it was')
      ok(t, fs.chmod('d/large', 0o600), 'metadata fits')
      fails(t, fs.open('d/large', O.RDWR), 'ENOSPC', 'the data still does not')
      t.equal(contents(fs, 'd/large').length, 6 * MiB, 'and is read from below')
      ok(t, fs.chmod('d/large', 0o640), 'chmod back')

      const fd = fs.open('filler', O.CREAT | O.WRONLY, 0o644)
      let result = 0
      for (let at = 0; at < 8 * MiB && result >= 0; at += MiB / 4)
        result = fs.pwrite(fd, Buffer.alloc(MiB / 4, 'f'), at)
      if (result >= 0) result = fs.fsync(fd)
      t.equal(outcome(result), 'ENOSPC', 'writing until it is full')
      fs.close(fd)
      t.ok(['ENOSPC', 'OK'].includes(put(fs, 'd/small', 'changed')), 'a small write says what it did')
      const st = new StatFs()
      ok(t, fs.statfs(st), 'statfs')
      ok(t, fs.unlink('filler'), 'removing makes room, also when there is none')
      // The kernel tells a FUSE server of the last close a moment after close(2) has returned.
      let again = put(fs, 'd/small', 'small again')
      for (let i = 0; i < 100 && again === 'ENOSPC'; i++) {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
        again = put(fs, 'd/small', 'small again')
      }
      t.equal(again, 'OK')
      t.equal(contents(fs, 'd/small'), 'small again')
      ok(t, fs.unlink('d/small'), 'unlink')
      fs.detach()
      const { log } = host.order({ op: 'unmount', mountpoint: point })
      t.same(log, [], 'nothing unexpected was logged')
      t.same(leftInWork(work), [], 'nothing left in work')
      t.same(difference(before, fingerprint(lower)), [], 'the lower is as it was')

      host.order({ op: 'mount', spec, mountpoint: point })
      fs.attach(point)
      t.equal(contents(fs, 'd/large').length, 6 * MiB)
      t.equal(put(fs, 'd/small', 'small'), 'OK', 'made again, for the next round')
      fs.detach()
      host.order({ op: 'unmount', mountpoint: point })
    })
  host.end()
  check(umount(disk, MNT.DETACH), 'umount', disk)
}
