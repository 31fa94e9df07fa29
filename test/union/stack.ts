/**
 * Owns one layered tree on disk that several implementations mount in turn: the union in process, the kernel's overlayfs,
 * fuse-overlayfs. What one wrote, the next must read alike.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { check, E } from '../../lib/errno.js'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { AT, MNT } from '../../lib/sys/constants.js'
import { mount, umount } from '../../lib/sys/mount.js'
import { createUnion, type UnionOptions } from '../../lib/union/options.js'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { type Item, populate, removeTree } from '../posix/population.js'
import type { HostOptions } from '../posix/union-host.js'
import { UnionVfs } from '../posix/union-vfs.js'
import type { Vfs } from '../posix/vfs.js'
import { arm } from './faults.js'

export class Stack {
  readonly root: string
  /** Base first. */
  lowers: readonly string[]
  upper: string
  readonly work: string
  readonly merged: string

  /** `layers` base first. */
  constructor(root: string, layers: readonly (readonly Item[])[]) {
    this.root = root
    this.upper = join(root, 'upper')
    this.work = join(root, 'work')
    this.merged = join(root, 'merged')
    for (const d of [root, this.upper, this.work, this.merged]) mkdirSync(d)
    this.lowers = layers.map((items, i) => {
      const lower = join(root, `lower${i}`)
      mkdirSync(lower)
      populate(lower, items)
      return lower
    })
  }

  /** Runs `use` on the union, in process. What is wrong with counting lookups is thrown. */
  union<T>(
    use: (fs: UnionVfs) => T,
    host: HostOptions = { passthrough: true },
    options: Partial<UnionOptions> = {},
  ): T {
    const fs = new UnionVfs()
    fs.attach(
      createUnion({
        lowers: this.lowers.toReversed().map(openDirectoryLayer),
        upper: { path: this.upper },
        work: { path: this.work },
        ...options,
      }),
      host,
    )
    try {
      return use(fs)
    } finally {
      const left = fs.detach()
      if (left !== 0) throw new Error(`${left} lookups never given back`)
    }
  }

  /** Runs `use` on the union, which then ends without a further change of the disk, as if its process had died. */
  dying(use: (fs: UnionVfs) => void): void {
    const fs = new UnionVfs()
    fs.attach(
      createUnion({
        lowers: this.lowers.toReversed().map(openDirectoryLayer),
        upper: { path: this.upper },
        work: { path: this.work },
      }),
      { passthrough: true },
    )
    let armed: { disarm: () => void } | undefined
    try {
      use(fs)
      armed = arm({ at: 1, kind: 'stop' })
      fs.detach()
    } finally {
      armed?.disarm()
    }
  }

  /** Runs `use` on the kernel's overlayfs. */
  kernel<T>(use: (fs: Vfs) => T, options = 'redirect_dir=on,metacopy=on,index=on,xino=on'): T {
    const lowers = this.lowers.toReversed().join(':')
    const data = `lowerdir=${lowers},upperdir=${this.upper},workdir=${this.work},${options}`
    const asked = Date.now()
    let r = mount('overlay', this.merged, 'overlay', 0, data)
    // The kernel's own mount before this one was detached lazily: it lets go of the upper a moment later.
    while (r === -E.EBUSY && Date.now() - asked < 60_000) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
      r = mount('overlay', this.merged, 'overlay', 0, data)
    }
    check(r, 'mount', this.merged)
    const fs = new DirectoryVfs(this.merged)
    try {
      return use(fs)
    } finally {
      fs.detach()
      check(umount(this.merged, MNT.DETACH), 'umount', this.merged)
    }
  }

  /** The upper becomes the topmost lower, below a new empty one. */
  stackUp(): void {
    this.lowers = [...this.lowers, this.upper]
    this.upper = join(this.root, `upper${this.lowers.length}`)
    mkdirSync(this.upper)
  }

  /** Runs `use` on fuse-overlayfs, with more `options` of its; undefined when it does not start here. */
  fuseOverlayfs<T>(use: (fs: Vfs) => T, options = ''): T | undefined {
    const lowers = this.lowers.toReversed().join(':')
    const data = `lowerdir=${lowers},upperdir=${this.upper},workdir=${this.work}${options}`
    const started = spawnSync('fuse-overlayfs', ['-o', data, this.merged], { stdio: 'ignore', timeout: 60_000 })
    if (started.status !== 0) return undefined
    const fs = new DirectoryVfs(this.merged)
    try {
      return use(fs)
    } finally {
      fs.detach()
      check(umount(this.merged, MNT.DETACH), 'umount', this.merged)
    }
  }

  remove(): void {
    removeTree(AT.FDCWD, this.root)
  }
}
