/** Owns every way in which a server could write to a lower, tried on the clone that lowers are reached through. */
import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../../lib/bytes.js'
import { errnoName } from '../../lib/errno.js'
import { AT, O, RENAME } from '../../lib/sys/constants.js'
import { linkat, mkdirat, renameat2, unlinkat } from '../../lib/sys/dir.js'
import { close, openat, pwriteAll } from '../../lib/sys/file.js'
import { readOnlyClone } from '../../lib/sys/read-only.js'
import { chmodat, chownat, utimensat } from '../../lib/sys/stat.js'
import { setxattrat } from '../../lib/sys/xattr.js'

/** What each way says when the kernel holds the clone read-only, then what is left in the lower. */
export const REFUSED: Readonly<Record<string, string>> = {
  'open for writing': 'EROFS',
  'open and truncate': 'EROFS',
  create: 'EROFS',
  'reopen through /proc': 'EROFS',
  'temporary file': 'EROFS',
  mkdir: 'EROFS',
  unlink: 'EROFS',
  rename: 'EROFS',
  whiteout: 'EROFS',
  link: 'EROFS',
  chmod: 'EROFS',
  'chmod through /proc': 'EROFS',
  chown: 'EROFS',
  utimes: 'EROFS',
  setxattr: 'EROFS',
  'the fd that is open': 'EBADF',
  content: 'kept',
  atime: '1970-01-01T00:00:01.000Z',
}

/** Makes the file `f` in the directory `lower`, reads it through a clone of it, and tries to write. */
export function writeThroughClone(lower: string): Record<string, string> {
  writeFileSync(join(lower, 'f'), 'kept')
  utimesSync(join(lower, 'f'), 1, 1)
  const clone = readOnlyClone(bytesOf(lower))
  if (clone < 0) return { 'no clone': errnoName(clone) }
  const reading = openat(clone, 'f', O.RDONLY)
  const self = `/proc/self/fd/${reading}`
  const ways: Record<string, number> = {
    'open for writing': openat(clone, 'f', O.WRONLY),
    'open and truncate': openat(clone, 'f', O.RDWR | O.TRUNC),
    create: openat(clone, 'new', O.WRONLY | O.CREAT, 0o600),
    'reopen through /proc': openat(AT.FDCWD, self, O.RDWR),
    'temporary file': openat(clone, '.', O.TMPFILE | O.WRONLY, 0o600),
    mkdir: mkdirat(clone, 'd', 0o700),
    unlink: unlinkat(clone, 'f'),
    rename: renameat2(clone, 'f', clone, 'g'),
    whiteout: renameat2(clone, 'f', clone, 'g', RENAME.WHITEOUT),
    link: linkat(clone, 'f', clone, 'g'),
    chmod: chmodat(clone, 'f', 0o777),
    'chmod through /proc': chmodat(AT.FDCWD, self, 0o777),
    chown: chownat(clone, 'f', 1, 1),
    utimes: utimensat(clone, 'f', 5, 0, 5, 0),
    setxattr: setxattrat(clone, 'f', 'user.x', Buffer.from('1')),
    'the fd that is open': pwriteAll(reading, Buffer.from('x'), 0),
  }
  const said = Object.fromEntries(Object.entries(ways).map(([way, result]) => [way, errnoName(result)]))
  const content = readFileSync(self, 'utf8')
  close(reading)
  close(clone)
  return { ...said, content, atime: statSync(join(lower, 'f')).atime.toISOString() }
}
