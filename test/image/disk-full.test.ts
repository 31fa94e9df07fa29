import t from 'tap'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { main } from '../../lib/cli/main.js'
import { fsck } from '../../lib/image/fsck.js'
import { listImages } from '../../lib/image/images.js'
import { loadImages } from '../../lib/image/load.js'
import { Store } from '../../lib/image/store.js'
import { makeImage, ociArchive } from './made.js'
import { missing, run } from './tools.js'

t.setTimeout(900_000)

t.test(
  'a full disk: a clear message, a code, and the store as it was',
  { skip: missing('mkfs.ext4', 'mount', 'losetup') },
  async t => {
    const scratch = mkdtempSync(join(tmpdir(), 'lamina-full-'))
    const disk = join(scratch, 'disk.img')
    const mountpoint = join(scratch, 'mnt')
    mkdirSync(mountpoint)
    run('truncate', ['-s', '24M', disk])
    run('mkfs.ext4', ['-q', '-N', '4096', disk])
    run('mount', ['-o', 'loop', disk, mountpoint])
    t.teardown(() => {
      run('umount', [mountpoint])
      rmSync(scratch, { recursive: true, force: true })
    })
    const noise = (kilobytes: number): Buffer =>
      Buffer.concat(Array.from({ length: kilobytes * 16 }, (_, i) => createHash('sha512').update(String(i)).digest()))
    const small = join(scratch, 'small.tar')
    const large = join(scratch, 'large.tar')
    const files = join(scratch, 'files.tar')
    writeFileSync(small, ociArchive(makeImage([[{ name: 'a', data: 'x' }]]), 'full/small:1'))
    writeFileSync(large, ociArchive(makeImage([[{ name: 'b', data: noise(20000) }]]), 'full/large:1'))
    writeFileSync(
      files,
      ociArchive(
        makeImage([Array.from({ length: 6000 }, (_, i) => ({ name: `f${i}`, data: `file ${i}` }))]),
        'full/files:1',
      ),
    )
    const root = join(mountpoint, 'store')
    const store = Store.open(root)
    await loadImages(store, small)
    for (const [what, archive] of [
      ['space', large],
      ['inodes', files],
    ] as const) {
      let stderr = ''
      const code = await main(['--root', root, 'load', '-q', '-i', archive], {
        stdin: process.stdin,
        stdout: { write: () => true },
        stderr: { write: (s: string | Uint8Array) => ((stderr += String(s)), true) },
      })
      t.equal(code, 1, `no ${what}`)
      t.match(stderr, /^lamina: .*no space left on device.*\n$/)
      t.same(
        listImages(store).map(i => i.names),
        [['docker.io/full/small:1']],
      )
      t.same((await fsck(store)).problems, [])
    }
    await loadImages(store, small)
  },
)
