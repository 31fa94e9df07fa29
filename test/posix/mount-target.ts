/** Owns the FUSE mount as a target, by either transport. */
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { AT } from '../../lib/sys/constants.js'
import type { MountSpec } from '../../lib/mount/spec.js'
import { DirectoryVfs } from './directory-vfs.js'
import { indexedLower, layeredFiles } from './layered-files.js'
import { MountHost } from './mount-host.js'
import { removeTree, type Encoding } from './population.js'
import { differencesOf, inArchives } from './scratch.js'
import type { Layers, Target, Tree } from './target.js'

export interface MountTargetOptions extends Pick<
  MountSpec,
  'passthrough' | 'writeback' | 'noOpen' | 'volatile' | 'transport'
> {
  readonly encoding?: Encoding
  /** Lowers are one index over objects, as an image's. */
  readonly indexed?: boolean
  readonly differences?: Target['differences']
}

export function mountTarget(scratch: string, name: string, options: MountTargetOptions = {}): Target {
  const { encoding, indexed = false, differences = {}, ...spec } = options
  const base = mkdtempSync(join(scratch, 'mount-'))
  const host = new MountHost(base)
  let count = 0
  return {
    name,
    kernel: true,
    layered: true,
    differences: {
      ...differencesOf(scratch),
      ...(indexed ? inArchives : {}),
      'collapse-range': 'the kernel passes no COLLAPSE_RANGE and INSERT_RANGE to a FUSE filesystem',
      ...differences,
    },
    make(layers: Layers): Tree {
      const files = layeredFiles(join(base, String(count++)), layers, indexed ? 'wh' : encoding)
      const index = indexed ? indexedLower(files, join(base, 'store')) : undefined
      const problems: string[] = []
      const mount = (): void => {
        const lowers = index
          ? [{ kind: 'index', ...index } as const]
          : files.lowers.toReversed().map(path => ({ kind: 'directory', path }) as const)
        const { upper, work, mountpoint } = files
        problems.push(...host.order({ op: 'mount', spec: { ...spec, lowers, upper, work }, mountpoint }).log)
      }
      mount()
      const fs = new DirectoryVfs(files.mountpoint)
      const unmount = (): void => {
        fs.detach()
        problems.push(...host.order({ op: 'unmount', mountpoint: files.mountpoint }).log)
      }
      return {
        fs,
        upper: files.upper,
        work: files.work,
        path: files.mountpoint,
        remount() {
          unmount()
          mount()
          fs.attach(files.mountpoint)
        },
        close() {
          unmount()
          problems.push(...files.problems())
          files.remove()
          return problems
        },
      }
    },
    close() {
      host.end()
      removeTree(AT.FDCWD, base)
    },
  }
}
