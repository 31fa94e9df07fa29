/**
 * Owns the kernel's overlayfs as a target: the reference for layered trees. Where it differs from ext4 by its own
 * documentation, the difference is named and the case left out.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { check, E } from '../../lib/errno.js'
import { MNT } from '../../lib/sys/constants.js'
import { mount, umount } from '../../lib/sys/mount.js'
import { DirectoryVfs } from './directory-vfs.js'
import { populate } from './population.js'
import { differencesOf } from './scratch.js'
import type { Layers, Target, Tree } from './target.js'

/** Options that make overlayfs do what the union does always. */
const OPTIONS = 'redirect_dir=on,metacopy=on,index=on,xino=auto'

/** Trees by kernel overlayfs below a new directory in `scratch`. */
export function kernelTarget(scratch: string): Target {
  const base = mkdtempSync(join(scratch, 'kernel-'))
  let count = 0
  return {
    name: 'kernel overlayfs',
    kernel: true,
    layered: true,
    differences: {
      ...differencesOf(scratch),
      'directory-nlink': 'overlayfs gives merged directories nlink 1',
      'long-redirect': 'overlayfs stores metadata-only copies under a redirect of at most 256 bytes: EXDEV',
      'd-ino': 'd_ino of a merged directory is not its st_ino without xino',
      'open-unlinked-nlink': 'overlayfs keeps the nlink of an unlinked lower file and of a removed directory',
      'handle-metadata': 'fchmod of a lower file that lost its name is EEXIST',
      holes: 'overlayfs fills holes when it copies up',
      'collapse-range': 'left to the filesystem below',
    },
    make(layers: Layers): Tree {
      const root = join(base, String(count++))
      const merged = join(root, 'merged')
      const [upper, work] = [join(root, 'upper'), join(root, 'work')]
      for (const d of [root, merged, upper, work]) mkdirSync(d)
      const lowers = layers.lowers.map((items, i) => {
        const lower = join(root, `lower${i}`)
        mkdirSync(lower)
        populate(lower, items)
        return lower
      })
      if (layers.upper) populate(upper, layers.upper)
      const attach = (): void => {
        const dirs = lowers.toReversed().join(':')
        const data = `lowerdir=${dirs},upperdir=${upper},workdir=${work},${OPTIONS}`
        let r = mount('overlay', merged, 'overlay', 0, data)
        // An upper that was unmounted lazily is in use until the last file in it is closed, which the kernel does later.
        for (let i = 0; i < 500 && r === -E.EBUSY; i++) {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
          r = mount('overlay', merged, 'overlay', 0, data)
        }
        check(r, 'mount', merged)
      }
      attach()
      const fs = new DirectoryVfs(merged)
      return {
        fs,
        upper,
        work,
        path: merged,
        remount() {
          fs.detach()
          check(umount(merged, MNT.DETACH), 'umount', merged)
          attach()
          fs.attach(merged)
        },
        close() {
          fs.detach()
          check(umount(merged, MNT.DETACH), 'umount', merged)
          rmSync(root, { recursive: true, force: true })
          return []
        },
      }
    },
    close() {
      rmSync(base, { recursive: true, force: true })
    },
  }
}
