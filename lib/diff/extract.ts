/**
 * Owns copying out of a merged tree to the host, for `cp`: files, directories, symlinks, fifos; devices where allowed.
 * Every step is (fd of a directory, one name): nothing is followed, so neither a name nor a symlink that is already there
 * can lead outside the destination. A file or symlink in the way is replaced; a directory in the way is merged into.
 * Invariant: data first, then owner, mode, xattrs, times (a chown clears suid), directories' times last.
 */
import { E, FsError } from '../errno.js'
import { O, S } from '../sys/constants.js'
import { linkat, mkdirat, mknodat, symlinkat, unlinkat } from '../sys/dir.js'
import { close, ftruncate, openat, pwriteAll } from '../sys/file.js'
import { chmodat, chownat, utimensat } from '../sys/stat.js'
import { setxattrat } from '../sys/xattr.js'
import { type Attributes, inodeOf, isDirectory, isRegular, isSymlink } from './change.js'
import { eachChunk } from './content.js'
import { isImplicit } from './marks.js'
import type { Entry, MergedTree } from './merged.js'

export interface ExtractOptions {
  /** Keep owner and extended attributes too (Docker's `cp -a`). Mode and times are always kept. */
  readonly archive: boolean
  /** What could not be kept or made, in words. */
  readonly warn: (message: string) => void
}

/** Copies `entry` and all below it as `name` into the open directory `dirfd`. Throws FsError. */
export function extract(tree: MergedTree, entry: Entry, dirfd: number, name: string, options: ExtractOptions): void {
  const extraction = new Extraction(tree, options)
  extraction.put(entry, dirfd, name)
  extraction.finish()
}

/** Copies what is in the directory `entry` into the open directory `dirfd`. Throws FsError. */
export function extractChildren(tree: MergedTree, entry: Entry, dirfd: number, options: ExtractOptions): void {
  const extraction = new Extraction(tree, options)
  tree.children(entry, (name, child) => extraction.put(child, dirfd, name))
  extraction.finish()
}

class Extraction {
  readonly #tree: MergedTree
  readonly #options: ExtractOptions
  /** First copy of each hard-linked inode, as an open directory and a name. */
  readonly #links = new Map<string, { fd: number; name: string }>()
  readonly #fds: number[] = []

  constructor(tree: MergedTree, options: ExtractOptions) {
    this.#tree = tree
    this.#options = options
  }

  finish(): void {
    for (const fd of this.#fds) close(fd)
  }

  put(entry: Entry, dirfd: number, name: string): void {
    const a = entry.attributes
    if (isDirectory(a)) this.#directory(entry, dirfd, name)
    else if (isSymlink(a)) {
      this.#make(entry, dirfd, name, () => symlinkat(this.#tree.readlink(entry), dirfd, name))
      this.#attributes(entry, dirfd, name)
    } else if (isRegular(a)) this.#file(entry, dirfd, name)
    else if ((a.mode & S.IFMT) === S.IFSOCK) this.#options.warn(`${entry.path}: a socket is not copied`)
    else {
      const r = this.#try(dirfd, name, () => mknodat(dirfd, name, a.mode, a.rdev))
      if (r < 0) this.#options.warn(`${entry.path}: device not made (${new FsError(r, 'mknod').code})`)
      else this.#attributes(entry, dirfd, name)
    }
  }

  /** Makes a name; one in the way that is no directory is removed first. */
  #try(dirfd: number, name: string, make: () => number): number {
    let r = make()
    if (r === -E.EEXIST && unlinkat(dirfd, name) >= 0) r = make()
    return r
  }

  #make(entry: Entry, dirfd: number, name: string, make: () => number): number {
    const r = this.#try(dirfd, name, make)
    if (r < 0) throw new FsError(r, 'create', entry.path)
    return r
  }

  #file(entry: Entry, dirfd: number, name: string): void {
    const a = entry.attributes
    const first = a.nlink > 1 ? this.#links.get(inodeOf(a)) : undefined
    if (first !== undefined) {
      this.#make(entry, dirfd, name, () => linkat(first.fd, first.name, dirfd, name))
      return
    }
    const fd = this.#make(entry, dirfd, name, () =>
      openat(dirfd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600),
    )
    try {
      let at = 0
      eachChunk(this.#tree, entry, chunk => {
        const r = pwriteAll(fd, chunk, at)
        if (r < 0) throw new FsError(r, 'write', entry.path)
        at += chunk.length
      })
      const r = ftruncate(fd, at)
      if (r < 0) throw new FsError(r, 'ftruncate', entry.path)
    } finally {
      close(fd)
    }
    this.#attributes(entry, dirfd, name)
    if (a.nlink > 1) {
      const kept = openat(dirfd, '.', O.PATH | O.DIRECTORY)
      if (kept >= 0) {
        this.#fds.push(kept)
        this.#links.set(inodeOf(a), { fd: kept, name })
      }
    }
  }

  #directory(entry: Entry, dirfd: number, name: string): void {
    let r = mkdirat(dirfd, name, 0o700)
    const there = r === -E.EEXIST
    let fd = r < 0 && r !== -E.EEXIST ? r : openat(dirfd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
    if (r === -E.EEXIST && fd < 0) {
      // A file or a symlink is in the way.
      r = unlinkat(dirfd, name)
      if (r >= 0) r = mkdirat(dirfd, name, 0o700)
      fd = r < 0 ? r : openat(dirfd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
    }
    if (fd < 0) throw new FsError(fd, 'mkdir', entry.path)
    try {
      this.#tree.children(entry, (child, found) => this.put(found, fd, child))
    } finally {
      close(fd)
    }
    // A tar may name a path without describing the directories on the way to it: those that are there stay as they are.
    if (!there || !entry.parts.every(part => isImplicit(part.layer, part.node))) this.#attributes(entry, dirfd, name)
  }

  #attributes(entry: Entry, dirfd: number, name: string): void {
    const a: Attributes = entry.attributes
    const link = isSymlink(a)
    if (this.#options.archive) {
      const r = chownat(dirfd, name, a.uid, a.gid)
      if (r < 0) this.#options.warn(`${entry.path}: owner not kept (${new FsError(r, 'chown').code})`)
    }
    // Without the owner, a suid bit would be the copier's own.
    if (!link) chmodat(dirfd, name, a.mode & (this.#options.archive ? 0o7777 : 0o1777))
    if (this.#options.archive) {
      for (const [key, value] of this.#tree.xattrs(entry)) {
        const r = setxattrat(dirfd, name, key, value)
        if (r < 0) this.#options.warn(`${entry.path}: ${key} not kept (${new FsError(r, 'setxattr').code})`)
      }
    }
    utimensat(dirfd, name, a.mtime, a.mtimeNs, a.mtime, a.mtimeNs)
  }
}
