/**
 * Owns where a result goes (`--output`), and writing a tree into a directory of the host (`type=local`); archives are
 * made of the image in the store (lib/image: save.ts, import-rootfs.ts).
 * Formats: `type=local,dest=DIR`, `type=tar|oci|docker,dest=FILE` (`-` is stdout), `type=image`, or just `DIR` / `-`.
 * Invariant: nothing is written outside of the directory, whatever links the tree holds; owners are kept only as root.
 */
import { readSync } from 'node:fs'
import { bytesOf, textOf } from '../bytes.js'
import { check, E } from '../errno.js'
import { O, RESOLVE } from '../sys/constants.js'
import { linkat, mkdirat, mknodat, symlinkat, unlinkat } from '../sys/dir.js'
import { close, open, openat, openat2, pwriteAll } from '../sys/file.js'
import { chmodat, chownat, utimensat, type Stat } from '../sys/stat.js'
import { setxattrat } from '../sys/xattr.js'
import { BuildError } from './error.js'
import { isDirectory, isFile, isSymlink, join, nameOf, parentOf, resolve, type Tree } from './tree.js'

export type Output =
  | { readonly type: 'image' }
  /** Files in a directory, or everything else in one file (`-`: standard output). */
  | { readonly type: 'local' | 'tar' | 'oci' | 'docker'; readonly dest: string }

/** Reads `--output`. Throws BuildError OUTPUT. */
export function parseOutput(text: string): Output {
  if (!text.includes('=')) return text === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: text }
  const fields = new Map(
    text.split(',').map(field => {
      const equals = field.indexOf('=')
      return equals < 0 ? [field, ''] : [field.slice(0, equals), field.slice(equals + 1)]
    }) as [string, string][],
  )
  const type = fields.get('type')
  const dest = fields.get('dest') ?? ''
  const wrong = (why: string): BuildError => new BuildError('OUTPUT', `--output ${text}: ${why}`)
  for (const key of fields.keys()) if (key !== 'type' && key !== 'dest') throw wrong(`unknown field "${key}"`)
  switch (type) {
    case 'image':
      if (dest !== '') throw wrong('an image has no dest: name it with --tag')
      return { type }
    case 'docker':
      // As with docker itself: without a dest the image is for the local store.
      return dest === '' ? { type: 'image' } : { type, dest }
    case 'local':
      if (dest === '' || dest === '-') throw wrong('a dest is needed, a directory')
      return { type, dest }
    case 'tar':
    case 'oci':
      return { type, dest: dest || '-' }
    default:
      throw wrong('the type is image, local, tar, oci or docker')
  }
}

/** Writes what is at `path` of `tree` into the existing directory `to` (text): a directory's contents, or one file. */
export function writeTree(tree: Tree, path: string, to: string): void {
  const at = resolve(tree, bytesOf(path))
  if (at.rest !== '') throw new BuildError('SOURCE', `${path}: no such file or directory`)
  const fd = check(open(bytesOf(to), O.PATH | O.DIRECTORY), 'open', to)
  const writer = new TreeWriter(tree, fd)
  try {
    if (isDirectory(at.stat)) writer.contents(at.path, fd, '')
    else writer.entry(at.path, at.stat, fd, nameOf(at.path), nameOf(at.path))
  } finally {
    close(fd)
  }
}

const CHUNK = Buffer.allocUnsafe(1 << 20)

class TreeWriter {
  readonly #tree: Tree
  readonly #top: number
  readonly #root = process.getuid?.() === 0
  /** Inodes with several names → where the first one was written, below `top`. */
  readonly #written = new Map<string, string>()

  constructor(tree: Tree, top: number) {
    this.#tree = tree
    this.#top = top
  }

  contents(path: string, fd: number, written: string): void {
    for (const name of this.#tree.list(path)) {
      const here = join(path, name)
      const st = this.#tree.stat(here)
      if (st) this.entry(here, st, fd, name, join(written, name))
    }
  }

  /** `written`: where it will be, below `top`. */
  entry(path: string, st: Stat, fd: number, name: string, written: string): void {
    if (isDirectory(st)) {
      const made = mkdirat(fd, name, 0o700)
      if (made < 0 && made !== -E.EEXIST) check(made, 'mkdir', textOf(path))
      // O_NOFOLLOW: a link that was there before us is not gone through.
      const inner = check(openat(fd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), 'open', textOf(path))
      try {
        this.contents(path, inner, written)
      } finally {
        close(inner)
      }
    } else {
      unlinkat(fd, name)
      if (isFile(st) && st.nlink > 1) {
        const inode = `${st.dev}:${st.ino}`
        const first = this.#written.get(inode)
        if (first !== undefined) return this.#link(first, fd, name)
        this.#written.set(inode, written)
      }
      if (isSymlink(st)) check(symlinkat(this.#tree.readlink(path), fd, name), 'symlink', textOf(path))
      else if (isFile(st)) this.#file(path, fd, name)
      else {
        const made = mknodat(fd, name, st.mode, st.rdev)
        // Without privileges devices cannot be made: say so rather than leave them out.
        check(made, 'mknod', textOf(path))
      }
    }
    if (this.#root) check(chownat(fd, name, st.uid, st.gid), 'chown', textOf(path))
    for (const [key, value] of this.#tree.xattrs(path)) {
      const r = setxattrat(fd, name, key, value)
      if (r < 0 && this.#root) check(r, 'setxattr', textOf(path))
    }
    if (!isSymlink(st)) check(chmodat(fd, name, st.mode & 0o7777), 'chmod', textOf(path))
    check(utimensat(fd, name, st.mtime, st.mtimeNs, st.mtime, st.mtimeNs), 'utimens', textOf(path))
  }

  #link(first: string, fd: number, name: string): void {
    const how = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS
    const parent = check(
      openat2(this.#top, parentOf(first) || '.', O.PATH | O.DIRECTORY, 0, how),
      'open',
      textOf(first),
    )
    const r = linkat(parent, nameOf(first), fd, name)
    close(parent)
    check(r, 'link', textOf(first))
  }

  #file(path: string, fd: number, name: string): void {
    const from = this.#tree.open(path)
    const to = openat(fd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600)
    try {
      check(to, 'open', textOf(path))
      for (let at = 0; ;) {
        const n = readSync(from, CHUNK, 0, CHUNK.length, at)
        if (n === 0) break
        check(pwriteAll(to, CHUNK.subarray(0, n), at), 'write', textOf(path))
        at += n
      }
    } finally {
      close(from)
      if (to >= 0) close(to)
    }
  }
}
