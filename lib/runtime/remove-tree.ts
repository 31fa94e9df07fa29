/**
 * Owns removing a tree that an image's program has filled: names that are no UTF-8, directories without permissions,
 * mountpoints never crossed. Invariant: no symlink is followed, at any depth (openat with O_NOFOLLOW from the parent).
 */
import { bytesOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { DT, O } from '../sys/constants.js'
import { listdir, rmdirat, unlinkat } from '../sys/dir.js'
import { close, open, openat } from '../sys/file.js'
import { chmodat } from '../sys/stat.js'

/** Removes `path` and all below it. Nothing there is fine. Throws FsError naming what could not be removed. */
export function removeTree(path: string): void {
  const slash = path.lastIndexOf('/')
  const parent = open(bytesOf(path.slice(0, slash) || '/'), O.PATH | O.DIRECTORY)
  if (parent === -E.ENOENT) return
  if (parent < 0) throw new FsError(parent, 'open', path)
  try {
    removeAt(parent, bytesOf(path.slice(slash + 1)), path)
  } finally {
    close(parent)
  }
}

function removeAt(parent: number, name: string, shown: string): void {
  const r = unlinkat(parent, name)
  if (r === 0 || r === -E.ENOENT) return
  if (r !== -E.EISDIR && r !== -E.EPERM) throw new FsError(r, 'unlink', shown)
  // Its own directories only: as their owner this may be what a mode of 000 needs.
  let fd = openat(parent, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
  if (fd === -E.EACCES && chmodat(parent, name, 0o700) === 0)
    fd = openat(parent, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
  if (fd < 0) throw new FsError(fd, 'open', shown)
  try {
    const directories: string[] = []
    const others: string[] = []
    const listed = listdir(fd, (n, type) => (type === DT.DIR || type === DT.UNKNOWN ? directories : others).push(n))
    if (listed < 0) throw new FsError(listed, 'getdents', shown)
    for (const n of others) {
      let u = unlinkat(fd, n)
      if (u === -E.EACCES && chmodat(fd, '.', 0o700) === 0) u = unlinkat(fd, n)
      if (u < 0 && u !== -E.ENOENT) throw new FsError(u, 'unlink', `${shown}/${n}`)
    }
    for (const n of directories) removeAt(fd, n, `${shown}/${n}`)
  } finally {
    close(fd)
  }
  const d = rmdirat(parent, name)
  if (d < 0 && d !== -E.ENOENT) throw new FsError(d, 'rmdir', shown)
}
