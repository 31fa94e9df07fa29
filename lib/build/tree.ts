/**
 * Owns the seam for what COPY, ADD and bind mounts read: `Tree`, a read-only tree of files, whether it is the build
 * context (a directory, here) or the filesystem of a stage or image (layers: layer-tree.ts).
 * Formats: paths are byte strings relative to the root, '' is the root, components separated by one `/`, no `.` or
 * `..`; nothing here follows a symlink, `resolve` does that and stays inside.
 * Invariant: no path given to a tree can name anything outside of it.
 */
import { createHash } from 'node:crypto'
import { closeSync, readSync } from 'node:fs'
import { LRUCache } from 'lru-cache'
import { check, E, FsError } from '../errno.js'
import { bytesOf, textOf } from '../bytes.js'
import { O, RESOLVE, S } from '../sys/constants.js'
import { listdir, readlinkat } from '../sys/dir.js'
import { close, openat, openat2, open as sysOpen } from '../sys/file.js'
import { Stat, statat } from '../sys/stat.js'
import { CAPABILITY, getxattrat, listxattrat } from '../sys/xattr.js'
import { BuildError } from './error.js'

export interface Tree {
  /** Attributes of `path`, undefined when it is not there (or a parent is no directory). */
  stat(path: string): Stat | undefined
  /** Names in the directory `path`, in byte order. */
  list(path: string): string[]
  readlink(path: string): string
  /** An fd on the regular file `path`; the caller closes it. */
  open(path: string): number
  /** sha256 of the regular file `path`, 64 hex digits. */
  digest(path: string, st: Stat): string
  /** What is worth carrying over: `user.*` and `security.capability`. */
  xattrs(path: string): ReadonlyMap<string, Buffer>
  close(): void
}

export function isDirectory(st: Stat): boolean {
  return (st.mode & S.IFMT) === S.IFDIR
}
export function isFile(st: Stat): boolean {
  return (st.mode & S.IFMT) === S.IFREG
}
export function isSymlink(st: Stat): boolean {
  return (st.mode & S.IFMT) === S.IFLNK
}

export function join(directory: string, name: string): string {
  return directory === '' ? name : name === '' ? directory : `${directory}/${name}`
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? '' : path.slice(0, slash)
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** `/a/./b/../c/` → `a/c`; `..` stops at the root, as in a chroot. */
export function clean(path: string): string {
  const out: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') out.pop()
    else if (part !== '' && part !== '.') out.push(part)
  }
  return out.join('/')
}

/** Where a path leads once its symlinks are followed inside the tree. `rest` is what is not there yet. */
export interface Resolved {
  /** The part that is there, free of symlinks. */
  readonly path: string
  readonly stat: Stat
  /** Components below `path` that are not there; '' when all is. */
  readonly rest: string
}

/**
 * Follows `path` (any form) as a process chrooted into the tree would; the last component too unless `nofollow`.
 * Throws BuildError SOURCE on a symlink loop.
 */
export function resolve(tree: Pick<Tree, 'stat' | 'readlink'>, path: string, nofollow = false): Resolved {
  let todo = clean(path).split('/').filter(Boolean)
  let at = ''
  const root = tree.stat('')
  if (!root) throw new BuildError('SOURCE', 'the root of the tree is gone')
  let st: Stat = root
  for (let links = 0; todo.length > 0;) {
    const [name, ...after] = todo as [string, ...string[]]
    if (name === '..') {
      at = parentOf(at)
      st = tree.stat(at) ?? root
      todo = after
      continue
    }
    const next: Stat | undefined = isDirectory(st) ? tree.stat(join(at, name)) : undefined
    if (!next) return { path: at, stat: st, rest: todo.join('/') }
    if (isSymlink(next) && !(nofollow && after.length === 0)) {
      if (++links > 40) throw new BuildError('SOURCE', `resolve ${textOf(path)}: too many symbolic links`)
      const target = tree.readlink(join(at, name))
      // `..` is kept: it is applied where the link leads, not to the text.
      const parts = target.split('/').filter(p => p !== '' && p !== '.')
      if (target.startsWith('/')) {
        at = ''
        st = root
      }
      todo = [...parts, ...after]
      continue
    }
    at = join(at, name)
    st = next
    todo = after
  }
  return { path: at, stat: st, rest: '' }
}

const CONFINED = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS
const CHUNK = 1 << 20
const chunk = Buffer.allocUnsafe(CHUNK)

/** sha256 of everything readable from `fd`, which is closed. */
export function digestOf(fd: number): string {
  try {
    const hash = createHash('sha256')
    for (;;) {
      const n = readSync(fd, chunk, 0, CHUNK, null)
      if (n === 0) return hash.digest('hex')
      hash.update(n === CHUNK ? chunk : chunk.subarray(0, n))
    }
  } finally {
    closeSync(fd)
  }
}

/** Remembers content digests between builds; see digest-cache.ts. */
export interface DigestCache {
  get(path: string, st: Stat): string | undefined
  set(path: string, st: Stat, digest: string): void
}

/** A directory of the host as a tree. Symlinks in the path to a file are never followed by the kernel (openat2). */
export class DirectoryTree implements Tree {
  readonly #root: number
  readonly #where: string
  readonly #digests: DigestCache | undefined
  readonly #directories = new LRUCache<string, number>({ max: 128, dispose: fd => close(fd) })

  /** Throws FsError when `directory` (text) cannot be opened. */
  constructor(directory: string, digests?: DigestCache) {
    this.#where = directory
    this.#digests = digests
    this.#root = check(sysOpen(bytesOf(directory), O.PATH | O.DIRECTORY), 'open', directory)
  }

  stat(path: string): Stat | undefined {
    const st = new Stat()
    if (path === '') {
      check(statat(this.#root, '', st, 0x1000), 'stat', this.#where)
      return st
    }
    const directory = this.#directory(parentOf(path))
    if (directory < 0) return this.#absent(directory, path)
    const r = statat(directory, nameOf(path), st)
    return r < 0 ? this.#absent(r, path) : st
  }

  list(path: string): string[] {
    const fd = check(openat2(this.#root, path || '.', O.RDONLY | O.DIRECTORY, 0, CONFINED), 'open', this.#name(path))
    const names: string[] = []
    const r = listdir(fd, name => names.push(name))
    close(fd)
    check(r, 'list', this.#name(path))
    return names.sort()
  }

  readlink(path: string): string {
    const target = readlinkat(this.#parent(path), nameOf(path))
    if (typeof target === 'number') throw new FsError(target, 'readlink', this.#name(path))
    return target
  }

  open(path: string): number {
    const flags = O.RDONLY | O.NOFOLLOW | O.NONBLOCK
    return check(openat(this.#parent(path), nameOf(path), flags), 'open', this.#name(path))
  }

  digest(path: string, st: Stat): string {
    const known = this.#digests?.get(path, st)
    if (known !== undefined) return known
    const digest = digestOf(this.open(path))
    this.#digests?.set(path, st, digest)
    return digest
  }

  xattrs(path: string): ReadonlyMap<string, Buffer> {
    const [directory, name] = path === '' ? [this.#root, ''] : [this.#parent(path), nameOf(path)]
    return carried(listxattrat(directory, name), key => getxattrat(directory, name, key))
  }

  close(): void {
    this.#directories.clear()
    close(this.#root)
  }

  #parent(path: string): number {
    return check(this.#directory(parentOf(path)), 'open', this.#name(parentOf(path)))
  }

  #directory(path: string): number {
    if (path === '') return this.#root
    const open = this.#directories.get(path)
    if (open !== undefined) return open
    const fd = openat2(this.#root, path, O.PATH | O.DIRECTORY, 0, CONFINED)
    if (fd >= 0) this.#directories.set(path, fd)
    return fd
  }

  #absent(errno: number, path: string): undefined {
    // ELOOP: a parent is a symlink; for this interface that is no directory.
    if (errno === -E.ENOENT || errno === -E.ENOTDIR || errno === -E.ELOOP) return undefined
    throw new FsError(errno, 'stat', this.#name(path))
  }

  #name(path: string): string {
    return `${this.#where}/${textOf(path)}`
  }
}

/** The extended attributes that are content rather than the host's own labels. */
export function carried(names: string[] | number, get: (name: string) => Buffer | number): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>()
  // EOPNOTSUPP: the filesystem has none.
  if (typeof names === 'number') return found
  for (const name of names.sort()) {
    if (name !== CAPABILITY && !name.startsWith('user.')) continue
    if (name.startsWith('user.overlay.') || name.startsWith('user.fuseoverlayfs.')) continue
    const value = get(name)
    if (typeof value !== 'number') found.set(name, value)
  }
  return found
}
