/**
 * Owns the proof that a lower was not touched: every name below a directory with all that a change would move, read
 * without moving any time itself.
 */
import { createHash } from 'node:crypto'
import { check } from '../../lib/errno.js'
import { AT, O, S } from '../../lib/sys/constants.js'
import { listdir } from '../../lib/sys/dir.js'
import { close, openat, pread } from '../../lib/sys/file.js'
import { Stat, statat } from '../../lib/sys/stat.js'

/** A line per name: inode, mode, owner, links, size, all three times in nanoseconds, contents. */
export function fingerprint(root: string): string[] {
  const lines: string[] = []
  const at = check(openat(AT.FDCWD, root, O.RDONLY | O.DIRECTORY | O.NOATIME), 'open', root)
  visit(at, '.', '', lines)
  close(at)
  return lines.sort()
}

function visit(at: number, name: string, path: string, lines: string[]): void {
  const st = new Stat()
  check(statat(at, name, st), 'stat', path)
  const times = `a${st.atime}.${st.atimeNs} m${st.mtime}.${st.mtimeNs} c${st.ctime}.${st.ctimeNs}`
  const kind = st.mode & S.IFMT
  const sum = kind === S.IFREG ? hashOf(at, name, st.size) : ''
  lines.push(`${path} i${st.ino} ${st.mode.toString(8)} ${st.uid}:${st.gid} n${st.nlink} ${st.size} ${times} ${sum}`)
  if (kind !== S.IFDIR) return
  const fd = check(openat(at, name, O.RDONLY | O.DIRECTORY | O.NOATIME | O.NOFOLLOW), 'open', path)
  const names: string[] = []
  check(
    listdir(fd, n => void names.push(n)),
    'getdents',
    path,
  )
  for (const n of names) visit(fd, n, `${path}/${n}`, lines)
  close(fd)
}

function hashOf(at: number, name: string, size: number): string {
  const fd = check(openat(at, name, O.RDONLY | O.NOATIME), 'open', name)
  const sum = createHash('sha256')
  const buffer = Buffer.alloc(Math.min(size, 1 << 20))
  for (let position = 0; position < size;) {
    const n = check(pread(fd, buffer, position), 'read', name)
    if (n === 0) break
    sum.update(buffer.subarray(0, n))
    position += n
  }
  close(fd)
  return sum.digest('hex').slice(0, 16)
}

/** What differs between two fingerprints of one lower, as lines to print. */
export function difference(before: readonly string[], after: readonly string[]): string[] {
  const was = new Set(before)
  const is = new Set(after)
  return [
    ...before.filter(line => !is.has(line)).map(line => `lower was: ${line}`),
    ...after.filter(line => !was.has(line)).map(line => `lower is:  ${line}`),
  ]
}
