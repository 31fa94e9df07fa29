/** Owns the union as a target: driven in this process, no mount, with and without passthrough. */
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { AT } from '../../lib/sys/constants.js'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { openIndex } from '../../lib/layer/indexed.js'
import { createUnion } from '../../lib/union/options.js'
import { indexedLower, layeredFiles } from './layered-files.js'
import { removeTree, type Encoding } from './population.js'
import { differencesOf, inArchives } from './scratch.js'
import type { Layers, Target, Tree } from './target.js'
import type { HostOptions } from './union-host.js'
import { UnionVfs } from './union-vfs.js'

export interface UnionTargetOptions extends HostOptions {
  /** How the lowers' whiteouts are written. */
  readonly encoding?: Encoding
  /** Lowers are one index over objects, as an image's. */
  readonly indexed?: boolean
}

export function unionTarget(scratch: string, options: UnionTargetOptions): Target {
  const base = mkdtempSync(join(scratch, 'union-'))
  let count = 0
  const indexed = options.indexed === true
  return {
    name: `union in process, ${indexed ? 'indexed, ' : ''}${options.passthrough ? 'passthrough' : 'cached'}`,
    kernel: false,
    layered: true,
    differences: { ...differencesOf(scratch), ...(indexed ? inArchives : {}) },
    make(layers: Layers): Tree {
      const files = layeredFiles(join(base, String(count++)), layers, indexed ? 'wh' : options.encoding)
      const index = indexed ? indexedLower(files, join(base, 'store')) : undefined
      const fs = new UnionVfs()
      const attach = (): void =>
        fs.attach(
          createUnion({
            lowers: index ? [openIndex(index.path, index.objects)] : files.lowers.toReversed().map(openDirectoryLayer),
            upper: { path: files.upper },
            work: { path: files.work },
          }),
          options,
        )
      attach()
      const problems: string[] = []
      const detach = (): void => {
        const left = fs.detach()
        if (left !== 0) problems.push(`${left} lookups never given back`)
        problems.push(...fs.messages)
      }
      return {
        fs,
        upper: files.upper,
        work: files.work,
        path: undefined,
        remount() {
          detach()
          attach()
        },
        close() {
          detach()
          problems.push(...files.problems())
          files.remove()
          return problems
        },
      }
    },
    close() {
      removeTree(AT.FDCWD, base)
    },
  }
}
