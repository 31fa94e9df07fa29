/**
 * Owns the comparison of trees: a snapshot is one line of text per name, so that a difference reads as a diff.
 * Format: `path type mode uid:gid nlink size rdev mtime [target] [sha256] [xattrs]`, in byte order of paths.
 * Invariant: two trees that a process could tell apart (inode numbers, times of now and disk usage aside) differ here.
 */
import { createHash } from 'node:crypto'
import { errnoName } from '../../lib/errno.js'
import { O, S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import type { Vfs } from './vfs.js'

export interface SnapshotOptions {
  /** Leave times out altogether; else a time of 2010 or later reads `now`. */
  times?: boolean
  /** Leave the times of directories out. */
  directoryTimes?: boolean
  /** Leave the nlink of directories out. */
  directoryLinks?: boolean
  /** Leave attributes out that the callback refuses. */
  xattr?: (name: string) => boolean
  /** Leave regular files' contents out. */
  contents?: boolean
}

const types: Record<number, string> = {
  [S.IFREG]: 'file',
  [S.IFDIR]: 'dir',
  [S.IFLNK]: 'link',
  [S.IFCHR]: 'char',
  [S.IFBLK]: 'block',
  [S.IFIFO]: 'fifo',
  [S.IFSOCK]: 'sock',
}
/** Seconds of 2010-01-01: populations are older, what a test does is newer. */
const PRESENT = 1_262_304_000

/** The whole tree below `path`, itself included. A call that fails is a line too. */
export function snapshot(fs: Vfs, path = '', options: SnapshotOptions = {}): string[] {
  const lines: string[] = []
  visit(fs, path, options, lines, new Map())
  return lines
}

/** One name's line. `groups` numbers the hard-link groups met, so that which names are one file is compared. */
export function describe(fs: Vfs, path: string, options: SnapshotOptions = {}, groups?: Map<string, number>): string {
  const st = new Stat()
  const r = fs.stat(path, st)
  if (r < 0) return `${path} ${errnoName(r)}`
  const kind = st.mode & S.IFMT
  const words = [path || '.', types[kind] ?? String(kind), (st.mode & 0o7777).toString(8), `${st.uid}:${st.gid}`]
  if (kind !== S.IFDIR || (options.directoryLinks ?? false)) words.push(`n${st.nlink}`)
  if (kind === S.IFREG || kind === S.IFLNK) words.push(`${st.size}b`)
  if (kind === S.IFCHR || kind === S.IFBLK) words.push(`rdev${st.rdev}`)
  if ((options.times ?? true) && (kind !== S.IFDIR || (options.directoryTimes ?? true)))
    words.push(st.mtime >= PRESENT ? 'now' : `${st.mtime}.${String(st.mtimeNs).padStart(9, '0')}`)
  if (kind === S.IFLNK) words.push(`-> ${show(fs.readlink(path))}`)
  if (kind === S.IFREG && (options.contents ?? true)) words.push(hash(fs, path, st.size))
  if (kind !== S.IFDIR && st.nlink > 1 && groups) {
    const key = `${st.dev}:${st.ino}`
    if (!groups.has(key)) groups.set(key, groups.size)
    words.push(`group${groups.get(key)}`)
  }
  const names = fs.listxattr(path)
  if (typeof names === 'number') words.push(`listxattr:${errnoName(names)}`)
  else
    for (const name of names.toSorted()) {
      if (options.xattr && !options.xattr(name)) continue
      const value = fs.getxattr(path, name)
      words.push(`${name}=${typeof value === 'number' ? errnoName(value) : value.toString('latin1')}`)
    }
  return words.join(' ')
}

function show(target: string | number): string {
  return typeof target === 'number' ? errnoName(target) : target
}

/** sha256 of a file's contents (its first 12 digits), or why it cannot be read. */
export function hash(fs: Vfs, path: string, size: number): string {
  const fd = fs.open(path, O.RDONLY | O.NOFOLLOW)
  if (fd < 0) return `open:${errnoName(fd)}`
  const sum = createHash('sha256')
  try {
    for (let at = 0; at < size;) {
      const chunk = fs.pread(fd, Math.min(1 << 20, size - at), at)
      if (typeof chunk === 'number') return `read:${errnoName(chunk)}`
      if (chunk.length === 0) return `short:${at}`
      sum.update(chunk)
      at += chunk.length
    }
  } finally {
    fs.close(fd)
  }
  return sum.digest('hex').slice(0, 12)
}

/** The names in a directory, sorted, without `.` and `..`; an errno's name in a list if it cannot be listed. */
export function names(fs: Vfs, path: string): string[] {
  const dir = fs.opendir(path)
  if (dir < 0) return [errnoName(dir)]
  const found: string[] = []
  for (let offset = 0n; ;) {
    const some = fs.readdir(dir, offset, 32768)
    if (typeof some === 'number') {
      found.push(errnoName(some))
      break
    }
    if (some.length === 0) break
    for (const entry of some) {
      offset = entry.offset
      if (entry.name !== '.' && entry.name !== '..') found.push(entry.name)
    }
  }
  fs.closedir(dir)
  return found.sort()
}

function visit(fs: Vfs, path: string, options: SnapshotOptions, lines: string[], groups: Map<string, number>): void {
  lines.push(describe(fs, path, options, groups))
  const st = new Stat()
  if (fs.stat(path, st) < 0 || (st.mode & S.IFMT) !== S.IFDIR) return
  for (const name of names(fs, path)) visit(fs, path === '' ? name : `${path}/${name}`, options, lines, groups)
}
