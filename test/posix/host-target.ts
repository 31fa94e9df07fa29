/** Owns the oracle: a plain directory of this host, in which the layers have been applied one over the other. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DirectoryVfs } from './directory-vfs.js'
import { populate } from './population.js'
import { differencesOf } from './scratch.js'
import type { Layers, Target, Tree } from './target.js'

/** Trees below a new directory in `scratch`, which must lie on a filesystem with xattrs and device nodes. */
export function hostTarget(scratch: string, differences: Target['differences'] = {}): Target {
  const base = mkdtempSync(join(scratch, 'host-'))
  let count = 0
  return {
    name: 'host directory',
    kernel: true,
    layered: false,
    differences: { ...differencesOf(scratch), ...differences },
    make(layers: Layers): Tree {
      const root = join(base, String(count++))
      mkdirSync(root)
      for (const items of layers.lowers) populate(root, items, 'apply')
      if (layers.upper) populate(root, layers.upper, 'apply')
      const fs = new DirectoryVfs(root)
      return {
        fs,
        upper: undefined,
        work: undefined,
        path: root,
        remount() {
          fs.detach()
          fs.attach(root)
        },
        close() {
          fs.detach()
          rmSync(root, { recursive: true })
          return []
        },
      }
    },
    close() {
      rmSync(base, { recursive: true, force: true })
    },
  }
}
