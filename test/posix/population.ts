/**
 * Owns what a test's trees are made of: a declarative list of items, laid down in a real directory in any of the forms
 * a layer may have on disk.
 * Formats: paths and names are byte strings without a leading slash; whiteouts and opaque marks are items of their own.
 * Invariant: all times are fixed (2001, with odd nanoseconds), so that a time that moved shows.
 */
import { check } from '../../lib/errno.js'
import { AT, makedev, O, S } from '../../lib/sys/constants.js'
import { linkat, listdir, mkdirat, mknodat, rmdirat, symlinkat, unlinkat } from '../../lib/sys/dir.js'
import { close, ftruncate, openat, pwriteAll } from '../../lib/sys/file.js'
import { chmodat, chownat, Stat, statat, utimensat } from '../../lib/sys/stat.js'
import { listxattrat, removexattrat, setxattrat } from '../../lib/sys/xattr.js'

/** What any item may carry. Times are set last, from a fixed clock, unless given. */
export interface Attributes {
  mode?: number
  uid?: number
  gid?: number
  /** Seconds; nanoseconds are FIXED_NS. */
  mtime?: number
  xattrs?: Readonly<Record<string, string | Buffer>>
}

export type Item = { readonly path: string; readonly attributes: Attributes } & (
  | { readonly type: 'dir' }
  | { readonly type: 'file'; readonly data: Buffer; readonly size: number }
  | { readonly type: 'symlink'; readonly target: string }
  | { readonly type: 'node'; readonly mode: number; readonly rdev: number }
  | { readonly type: 'link'; readonly target: string }
  | { readonly type: 'whiteout' }
  | { readonly type: 'opaque' }
)

export const FIXED_TIME = 1_000_000_000
export const FIXED_NS = 123_456_789

export function dir(path: string, attributes: Attributes = {}): Item {
  return { type: 'dir', path, attributes }
}

/** A regular file; `size` beyond the data leaves a hole behind it. */
export function file(path: string, data: string | Buffer = path, attributes: Attributes = {}, size = 0): Item {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'latin1') : data
  return { type: 'file', path, data: bytes, size: Math.max(size, bytes.length), attributes }
}

export function symlink(path: string, target: string, attributes: Attributes = {}): Item {
  return { type: 'symlink', path, target, attributes }
}

export function fifo(path: string, attributes: Attributes = {}): Item {
  return { type: 'node', path, mode: S.IFIFO, rdev: 0, attributes }
}

export function socket(path: string, attributes: Attributes = {}): Item {
  return { type: 'node', path, mode: S.IFSOCK, rdev: 0, attributes }
}

export function chardev(path: string, major: number, minor: number, attributes: Attributes = {}): Item {
  return { type: 'node', path, mode: S.IFCHR, rdev: makedev(major, minor), attributes }
}

/** A second name of `target`, a path of the same population. */
export function hardlink(path: string, target: string): Item {
  return { type: 'link', path, target, attributes: {} }
}

export function whiteout(path: string): Item {
  return { type: 'whiteout', path, attributes: {} }
}

/** Marks a directory (made by this or an earlier item) as hiding what lies below it. */
export function opaque(path: string): Item {
  return { type: 'opaque', path, attributes: {} }
}

/**
 * How whiteouts and opaque marks are written: `char` the kernel's (char 0:0, `trusted.overlay.opaque`), `xattr`
 * (`overlay.whiteout` on an empty file, `overlay.opaque` "x" on its directory), `user` (char-less kernel form with
 * `user.overlay.*`), `wh` (aufs and OCI: `.wh.NAME`, `.wh..wh..opq`), `fuse` (fuse-overlayfs: `user.fuseoverlayfs.opaque`),
 * `apply` (no marks: the effect itself, for a plain directory that already holds the layers below).
 */
export type Encoding = 'char' | 'xattr' | 'user' | 'wh' | 'fuse' | 'apply'

/** Lays `items` down in the existing directory `root` (a byte-string path). Parents that are not listed are made 0755. */
export function populate(root: string, items: readonly Item[], encoding: Encoding = 'char'): void {
  const at = check(openat(AT.FDCWD, root, O.DIRECTORY | O.RDONLY), 'open', root)
  try {
    const timed: { path: string; seconds: number }[] = [{ path: '.', seconds: FIXED_TIME - 1 }]
    withParents(items).forEach((item, i) => {
      put(at, item, encoding)
      if (item.type === 'whiteout' || item.type === 'opaque' || item.type === 'link') return
      applyAttributes(at, item)
      timed.push({ path: item.path, seconds: item.attributes.mtime ?? FIXED_TIME + i })
    })
    // Last of all: making an entry moves its directory's mtime.
    for (const { path, seconds } of timed)
      check(utimensat(at, path, seconds, FIXED_NS, seconds, FIXED_NS), 'utimensat', path)
  } finally {
    close(at)
  }
}

/** Every layer owns the directories on the way to its items, as a tar or an upper does: the topmost one's attributes count. */
function withParents(items: readonly Item[]): Item[] {
  const seen = new Set<string>()
  return items.flatMap(item => {
    const added: Item[] = []
    for (let i = item.path.indexOf('/'); i > 0; i = item.path.indexOf('/', i + 1)) {
      const parent = item.path.slice(0, i)
      if (!seen.has(parent)) added.push(dir(parent))
      seen.add(parent)
    }
    seen.add(item.path)
    return [...added, item]
  })
}

function put(at: number, item: Item, encoding: Encoding): void {
  const { path } = item
  switch (item.type) {
    case 'dir': {
      const st = new Stat()
      if (encoding === 'apply' && statat(at, path, st) === 0) {
        if ((st.mode & S.IFMT) === S.IFDIR) {
          // A merged directory shows the topmost layer's attributes alone.
          check(chownat(at, path, 0, 0), 'chown', path)
          for (const name of list(listxattrat(at, path))) check(removexattrat(at, path, name), 'removexattr', path)
          return
        }
        check(unlinkat(at, path), 'unlink', path)
      }
      check(mkdirat(at, path, 0o755), 'mkdir', path)
      return
    }
    case 'file': {
      if (encoding === 'apply') removeTree(at, path)
      const fd = check(openat(at, path, O.CREAT | O.EXCL | O.WRONLY, 0o644), 'open', path)
      try {
        check(pwriteAll(fd, item.data, 0), 'write', path)
        check(ftruncate(fd, item.size), 'ftruncate', path)
      } finally {
        close(fd)
      }
      return
    }
    case 'symlink':
      if (encoding === 'apply') removeTree(at, path)
      check(symlinkat(item.target, at, path), 'symlink', path)
      return
    case 'node':
      if (encoding === 'apply') removeTree(at, path)
      check(mknodat(at, path, item.mode | 0o644, item.rdev), 'mknod', path)
      return
    case 'link':
      if (encoding === 'apply') removeTree(at, path)
      check(linkat(at, item.target, at, path), 'link', path)
      return
    case 'whiteout':
      putWhiteout(at, path, encoding)
      return
    case 'opaque':
      putOpaque(at, path, encoding)
      return
  }
}

function putWhiteout(at: number, path: string, encoding: Encoding): void {
  const cut = path.lastIndexOf('/') + 1
  switch (encoding) {
    case 'char':
    case 'user':
    case 'fuse':
      check(mknodat(at, path, S.IFCHR, 0), 'mknod', path)
      return
    case 'xattr': {
      const fd = check(openat(at, path, O.CREAT | O.EXCL | O.WRONLY, 0o644), 'open', path)
      close(fd)
      check(setxattrat(at, path, 'trusted.overlay.whiteout', Buffer.from('y')), 'setxattr', path)
      const parent = path.slice(0, Math.max(cut - 1, 0)) || '.'
      check(setxattrat(at, parent, 'trusted.overlay.opaque', Buffer.from('x')), 'setxattr', parent)
      return
    }
    case 'wh': {
      const fd = check(
        openat(at, `${path.slice(0, cut)}.wh.${path.slice(cut)}`, O.CREAT | O.WRONLY, 0o644),
        'open',
        path,
      )
      close(fd)
      return
    }
    case 'apply':
      removeTree(at, path)
  }
}

function putOpaque(at: number, path: string, encoding: Encoding): void {
  const mark = (name: string): unknown => check(setxattrat(at, path, name, Buffer.from('y')), 'setxattr', path)
  switch (encoding) {
    case 'char':
    case 'xattr':
      mark('trusted.overlay.opaque')
      return
    case 'user':
      mark('user.overlay.opaque')
      return
    case 'fuse':
      mark('user.fuseoverlayfs.opaque')
      return
    case 'wh':
      close(check(openat(at, `${path}/.wh..wh..opq`, O.CREAT | O.WRONLY, 0o644), 'open', path))
      return
    case 'apply': {
      const fd = check(openat(at, path, O.DIRECTORY), 'open', path)
      const names: string[] = []
      listdir(fd, name => void names.push(name))
      for (const name of names) removeTree(fd, name)
      close(fd)
    }
  }
}

function applyAttributes(at: number, item: Item): void {
  const { path, attributes: a } = item
  // Owner first: chown clears suid and file capabilities.
  if (a.uid !== undefined || a.gid !== undefined)
    check(chownat(at, path, a.uid ?? 0xffffffff, a.gid ?? 0xffffffff), 'chown', path)
  if (item.type !== 'symlink') {
    const mode = a.mode ?? (item.type === 'dir' ? 0o755 : 0o644)
    check(chmodat(at, path, mode), 'chmod', path)
  }
  for (const [name, value] of Object.entries(a.xattrs ?? {}))
    check(setxattrat(at, path, name, Buffer.isBuffer(value) ? value : Buffer.from(value, 'latin1')), 'setxattr', path)
}

function list(names: string[] | number): string[] {
  return typeof names === 'number' ? [] : names
}

/** Removes `path` below `at` and all in it. What is not there is no error. */
export function removeTree(at: number, path: string): void {
  const st = new Stat()
  if (statat(at, path, st) < 0) return
  if ((st.mode & S.IFMT) !== S.IFDIR) {
    check(unlinkat(at, path), 'unlink', path)
    return
  }
  const fd = check(openat(at, path, O.DIRECTORY | O.NOFOLLOW), 'open', path)
  const names: string[] = []
  listdir(fd, name => void names.push(name))
  for (const name of names) removeTree(fd, name)
  close(fd)
  check(rmdirat(at, path), 'rmdir', path)
}
