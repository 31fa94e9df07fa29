/** kill -9 of the server under load: nothing hangs, and the upper is good for the next mount. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MNT, O } from '../../lib/sys/constants.js'
import { umount } from '../../lib/sys/mount.js'
import { Stat } from '../../lib/sys/stat.js'
import { contents, fails, ok, put } from '../posix/case.js'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { layeredFiles, leftInWork } from '../posix/layered-files.js'
import { MountHost } from '../posix/mount-host.js'
import { dir, file } from '../posix/population.js'
import { missingForMounts, missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { names } from '../posix/snapshot.js'
import { isWhole } from './load.js'

const ROUNDS = Number(process.env['KILL_ROUNDS'] ?? 5)
const missing = missingForTrees() ?? missingForMounts()
if (missing !== undefined) t.plan(0, missing)
else {
  t.setTimeout(900_000)
  const scratch = scratchDirectory(t)
  const lower = [
    dir('d'),
    ...Array.from({ length: 40 }, (_, i) => file(`d/f${i}`, 'original'.repeat(i * 20 + 1))),
    dir('e'),
    file('e/inside', 'original'),
  ]
  const files = layeredFiles(join(scratch, 'stack'), { lowers: [lower] })
  const { upper, work, mountpoint } = files
  const spec = { lowers: files.lowers.map(path => ({ kind: 'directory', path }) as const), upper, work }
  for (let round = 0; round < ROUNDS; round++)
    await t.test(`round ${round}`, async t => {
      const own = join(scratch, `host${round}`)
      mkdirSync(own)
      const host = new MountHost(own)
      host.order({ op: 'mount', spec, mountpoint })
      const fs = new DirectoryVfs(mountpoint)
      const held = fs.open('d/f0', O.RDONLY)
      ok(t, held, 'open')
      const program = fileURLToPath(new URL('./load.js', import.meta.url))
      const load = spawn(process.execPath, [program, mountpoint], { stdio: ['ignore', 'pipe', 'inherit'] })
      const ended = once(load, 'exit')
      let synced = 0
      load.stdout.on('data', data => (synced += String(data).split('\n').length - 1))
      while (synced === 0 && load.exitCode === null) await sleep(10)
      await sleep(100 + round * 73)
      host.kill()
      await ended
      t.ok(synced > 0, `${synced} files were synced before`)
      fails(t, fs.stat('not-cached', new Stat()), 'ENOTCONN', 'what is not cached says so')
      fs.detach()
      ok(t, umount(mountpoint, MNT.FORCE | MNT.DETACH), 'umount')

      const again = new MountHost(own, 'again')
      const { log } = again.order({ op: 'mount', spec, mountpoint })
      t.same(log, [], 'nothing to complain about')
      fs.attach(mountpoint)
      const found = names(fs, 'd')
      for (let i = 0; i < 40; i++) if (!found.includes(`f${i}`)) t.fail(`f${i} is gone`)
      const torn = found.filter(name => !name.startsWith('tmp') && !isWhole(contents(fs, `d/${name}`)))
      t.same(torn, [], 'no file is torn')
      const moved = names(fs, '').filter(name => name.startsWith('e'))
      t.equal(moved.length, 1, `the directory is under one name: ${moved.join(' ')}`)
      t.equal(contents(fs, `${moved[0]}/inside`), 'original')
      for (const name of found) if (name.startsWith('tmp')) ok(t, fs.unlink(`d/${name}`), `unlink ${name}`)
      if (moved[0] === 'e2') ok(t, fs.rename('e2', 'e'), 'back')
      t.equal(put(fs, 'mine', String(round)), 'OK', 'the upper takes changes')
      fs.detach()
      again.order({ op: 'unmount', mountpoint })
      again.end()
      t.same(leftInWork(work), [], 'nothing left in work')
    })
  t.same(files.problems(), [], 'lowers unchanged')
}
