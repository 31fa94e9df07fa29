/** Owns where tests put their trees, and the reasons why this machine cannot hold them. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AT, O, S } from '../../lib/sys/constants.js'
import { mknodat } from '../../lib/sys/dir.js'
import { close, open } from '../../lib/sys/file.js'
import { setxattrat } from '../../lib/sys/xattr.js'
import { removeTree } from './population.js'

/** A new directory that goes with the test. Mounts below it must be gone by then. */
export function scratchDirectory(t: { teardown(run: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'lamina-posix-'))
  t.teardown(() => {
    // Names that are no UTF-8 and modes of 0 are in there.
    removeTree(AT.FDCWD, path)
  })
  return path
}

/** Why trees with owners, device nodes and trusted attributes cannot be made here, or undefined. */
export function missingForTrees(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root: trees with owners, device nodes and trusted attributes'
  const path = mkdtempSync(join(tmpdir(), 'lamina-posix-'))
  const at = open(path, O.PATH | O.DIRECTORY)
  try {
    if (mknodat(at, 'node', S.IFCHR, 0) < 0) return `${tmpdir()} takes no device nodes`
    for (const name of ['trusted.a', 'user.a'])
      if (setxattrat(at, '.', name, Buffer.from('x')) < 0)
        return `${tmpdir()} takes no ${name.split('.')[0]} attributes`
    return undefined
  } finally {
    close(at)
    rmSync(path, { recursive: true })
  }
}

/** Why no FUSE filesystem can be mounted here, or undefined. */
export function missingForMounts(): string | undefined {
  return existsSync('/dev/fuse') ? undefined : 'needs /dev/fuse'
}
