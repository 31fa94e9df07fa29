/** Owns where tests put their trees, and the reasons why this machine cannot hold them. */
import { chmodSync, existsSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AT, FALLOC, MNT, O, S } from '../../lib/sys/constants.js'
import { mknodat, unlinkat } from '../../lib/sys/dir.js'
import { close, fallocate, ftruncate, ioctl, open } from '../../lib/sys/file.js'
import { addressOf, alloc } from '../../lib/sys/libc.js'
import { mount, umount } from '../../lib/sys/mount.js'
import { removexattrat, setxattrat } from '../../lib/sys/xattr.js'
import { removeTree } from './population.js'

/**
 * A new directory that goes with the test. It is a tmpfs where one holds all that trees need (Linux 6.6: user xattrs),
 * because tests of names spend their time waiting for a disk's journal; `disk` keeps it on the disk. Mounts below it must
 * be gone by the end.
 */
export function scratchDirectory(t: { teardown(run: () => void): void }, disk = false): string {
  const path = mkdtempSync(join(tmpdir(), 'lamina-posix-'))
  chmodSync(path, 0o755)
  const memory = !disk && mount('lamina-test', path, 'tmpfs', 0, 'mode=755') === 0
  if (memory && lacking(path) !== undefined) umount(path)
  t.teardown(() => {
    if (memory && umount(path, MNT.DETACH) === 0) rmdirSync(path)
    // Names that are no UTF-8 and modes of 0 are in there.
    else removeTree(AT.FDCWD, path)
  })
  return path
}

/** As `scratchDirectory`, in the mount namespace of a user namespace: no device nodes and trusted attributes are asked for. */
export function namespaceScratch(t: { teardown(run: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'lamina-posix-'))
  const memory = mount('lamina-test', path, 'tmpfs', 0, 'mode=755') === 0
  const at = open(path, O.PATH | O.DIRECTORY)
  const holds = setxattrat(at, '.', 'user.a', Buffer.from('x')) === 0
  if (holds) removexattrat(at, '.', 'user.a')
  close(at)
  if (memory && !holds) umount(path)
  t.teardown(() => {
    if (memory && holds && umount(path, MNT.DETACH) === 0) rmdirSync(path)
    else removeTree(AT.FDCWD, path)
  })
  return path
}

/** Why trees with owners, device nodes and trusted attributes cannot be made here, or undefined. */
export function missingForTrees(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root: trees with owners, device nodes and trusted attributes'
  const path = mkdtempSync(join(tmpdir(), 'lamina-posix-'))
  try {
    return lacking(path)
  } finally {
    rmSync(path, { recursive: true })
  }
}

function lacking(path: string): string | undefined {
  const at = open(path, O.PATH | O.DIRECTORY)
  try {
    if (mknodat(at, 'node', S.IFCHR, 0) < 0) return `${path} takes no device nodes`
    for (const name of ['trusted.a', 'user.a'])
      if (setxattrat(at, '.', name, Buffer.from('x')) < 0) return `${path} takes no ${name.split('.')[0]} attributes`
    for (const name of ['trusted.a', 'user.a']) removexattrat(at, '.', name)
    unlinkat(at, 'node')
    return undefined
  } finally {
    close(at)
  }
}

/** What the filesystem of `path` cannot do for any tree that stands on it, as a target's `differences`. */
export function differencesOf(path: string): Record<string, string> {
  const name = join(path, 'space')
  const fd = open(name, O.RDWR | O.CREAT, 0o600)
  const can = (mode: number): boolean => ftruncate(fd, 65536) === 0 && fallocate(fd, mode, 0, 4096) === 0
  const differences: Record<string, string> = {}
  if (!can(FALLOC.ZERO_RANGE)) differences['zero-range'] = 'no ZERO_RANGE on the filesystem below'
  // FS_IOC_GETFLAGS
  if (ioctl(fd, 0x80086601, addressOf(alloc(8))) < 0)
    differences['inode-flags'] = 'no inode flags on the filesystem below'
  if (!can(FALLOC.COLLAPSE_RANGE)) differences['collapse-range'] = 'no COLLAPSE_RANGE on the filesystem below'
  close(fd)
  rmSync(name)
  return differences
}

/** What cannot come into an image's layer, as a target's `differences`. */
export const inArchives = { holes: 'tar as written here carries no holes', sockets: 'tar carries no sockets' } as const

/** Why no FUSE filesystem can be mounted here, or undefined. */
export function missingForMounts(): string | undefined {
  return existsSync('/dev/fuse') ? undefined : 'needs /dev/fuse'
}
