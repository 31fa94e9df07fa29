/**
 * Owns a layer in the making: `Draft`, what COPY, ADD and WORKDIR add on top of a stage's filesystem, in memory.
 * Only what is new is in it; directories that the filesystem below has already are implicit (their attributes are the
 * lower's). Contents go to the store as objects right away.
 * Formats: paths are byte strings (tree.ts). Times are seconds.
 * Invariants: a destination never leads out of the root; symlinks of the filesystem are followed as a chroot would.
 */
import { textOf } from '../bytes.js'
import { implicitDirectory, TreeInode } from '../layer/tree.js'
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'
import { BuildError } from './error.js'
import { findInode, inodeStat } from './layer-tree.js'
import type { SelectedEntry, SelectedSource } from './selection.js'
import type { ObjectSink } from './store.js'
import { isDirectory, isFile, isSymlink, join, nameOf, parentOf, resolve, type Tree } from './tree.js'

export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface PlaceOptions {
  /** undefined: the source's own. */
  readonly owner: Owner | undefined
  readonly chmod: ((mode: number, isDirectory: boolean) => number) | undefined
  /** Every time stamp becomes this (seconds); undefined: the source's mtime. */
  readonly time: number | undefined
}

export class Draft {
  readonly root = implicitDirectory()
  readonly #base: Tree
  readonly #sink: ObjectSink
  /** What directories get that are made on the way. */
  readonly #now: number

  constructor(base: Tree, sink: ObjectSink, now: number) {
    this.#base = base
    this.#sink = sink
    this.#now = now
  }

  /** Whether anything was added. */
  get empty(): boolean {
    return this.root.implicit && (this.root.children?.size ?? 0) === 0
  }

  stat(path: string): Stat | undefined {
    if (path === '') return this.#base.stat('')
    let at: TreeInode | undefined = this.root
    for (const name of path.split('/')) {
      // A name that replaced a directory of the base hides what was below.
      if (at && !at.isDirectory) return undefined
      at = at?.children?.get(name)
    }
    return at && !at.implicit ? inodeStat(at, 0) : this.#base.stat(path)
  }

  readlink(path: string): string {
    const inode = findInode(this.root, path)
    return inode && !inode.implicit ? inode.target : this.#base.readlink(path)
  }

  /** Makes `path` a directory, with what is missing above; follows links. Returns it free of links. */
  makeDirectory(path: string, owner: Owner = { uid: 0, gid: 0 }, mode = 0o755): string {
    const { path: at, stat, rest } = resolve(this, path)
    if (!isDirectory(stat))
      throw new BuildError('DESTINATION', `make directory ${textOf(path)}: /${textOf(at)} is not a directory`)
    if (rest === '') return at
    let here = at
    for (const name of rest.split('/')) {
      if (name === '..') {
        here = parentOf(here)
        continue
      }
      const inode = new TreeInode(S.IFDIR | mode)
      inode.uid = owner.uid
      inode.gid = owner.gid
      inode.mtime = this.#now
      this.#put(join(here, name), inode)
      here = join(here, name)
    }
    return here
  }

  /**
   * Copies selected sources to `destination` (absolute text form as bytes; a `/` at its end, or `into`, says it is a
   * directory). Directories merge; files and links replace what is there, except a directory.
   */
  place(
    from: Tree,
    sources: readonly SelectedSource[],
    destination: string,
    into: boolean,
    options: PlaceOptions,
  ): void {
    for (const source of sources) {
      const links = new Map<string, TreeInode>()
      if (source.kind === 'directory') {
        const top = this.makeDirectory(destination, options.owner)
        for (const [i, entry] of source.entries.entries()) {
          if (i === 0) this.#top(from, entry, top, options)
          else this.#entry(from, entry, join(top, entry.to), options, links)
        }
        continue
      }
      const entry = source.entries[0]!
      const directory = into || destination.endsWith('/') || this.#isDirectory(destination)
      const target = directory ? `${destination}/${entry.to}` : destination
      const parent = this.makeDirectory(parentOf(target) || '/', options.owner)
      // A link that is there is followed: what it names is replaced.
      const at = resolve(this, join(parent, nameOf(target)))
      this.#entry(from, entry, at.rest === '' ? at.path : join(at.path, at.rest), options, links)
    }
  }

  /** One file from memory: a here-document, or what was downloaded. */
  placeFile(
    bytes: Uint8Array | { object: string; size: number },
    path: string,
    mode: number,
    options: PlaceOptions,
    mtime = 0,
  ): void {
    const inode = new TreeInode(S.IFREG | (options.chmod?.(mode, false) ?? mode))
    inode.uid = options.owner?.uid ?? 0
    inode.gid = options.owner?.gid ?? 0
    inode.mtime = options.time ?? mtime
    inode.size = 'object' in bytes ? bytes.size : bytes.length
    if (inode.size > 0) inode.object = 'object' in bytes ? bytes.object : this.#sink.putBytes(bytes)
    const parent = this.makeDirectory(parentOf(path) || '/', options.owner)
    const at = resolve(this, join(parent, nameOf(path)))
    const target = at.rest === '' ? at.path : join(at.path, at.rest)
    if (at.rest === '' && isDirectory(at.stat)) throw blocked(target)
    this.#put(target, inode)
  }

  #isDirectory(path: string): boolean {
    const { stat, rest } = resolve(this, path)
    return rest === '' && isDirectory(stat)
  }

  /** The source directory itself: it gives a directory that was just made its attributes, one that was there keeps its own. */
  #top(from: Tree, entry: SelectedEntry, at: string, options: PlaceOptions): void {
    if (entry.to !== '') {
      this.makeDirectory(join(at, parentOf(entry.to)), options.owner)
      this.#directory(from, entry, join(at, entry.to), options)
      return
    }
    const made = findInode(this.root, at)
    if (made && !made.implicit && at !== '' && this.#base.stat(at) === undefined && made.children?.size === 0)
      this.#attributes(from, entry, made, options)
  }

  #entry(from: Tree, entry: SelectedEntry, at: string, options: PlaceOptions, links: Map<string, TreeInode>): void {
    if (isDirectory(entry.stat)) {
      this.#directory(from, entry, at, options)
      return
    }
    // A parent of the destination may be a link of the base to a directory (`lib` → `usr/lib`): follow it.
    const parent = this.makeDirectory(parentOf(at), options.owner)
    const target = join(parent, nameOf(at))
    const there = this.stat(target)
    if (there && isDirectory(there)) throw blocked(target)
    const key = entry.stat.nlink > 1 ? `${entry.stat.dev}:${entry.stat.ino}` : ''
    const linked = key === '' ? undefined : links.get(key)
    if (linked) {
      this.#put(target, linked)
      return
    }
    const type = entry.stat.mode & S.IFMT
    if (type === S.IFSOCK) return
    const inode = new TreeInode(entry.stat.mode)
    this.#attributes(from, entry, inode, options)
    if (isFile(entry.stat)) {
      inode.size = entry.stat.size
      if (inode.size > 0) inode.object = this.#store(from, entry)
    } else if (isSymlink(entry.stat)) {
      inode.target = from.readlink(entry.path)
      inode.size = inode.target.length
    } else inode.rdev = entry.stat.rdev
    this.#put(target, inode)
    if (key !== '') links.set(key, inode)
  }

  #store(from: Tree, entry: SelectedEntry): string {
    const digest = from.digest(entry.path, entry.stat)
    if (this.#sink.hasObject(digest)) return digest
    const stored = this.#sink.putFile(from.open(entry.path), entry.stat.size, digest)
    if (stored !== digest)
      throw new BuildError('SOURCE', `copy ${textOf(entry.path)}: it changed while it was read`, {
        context: { path: textOf(entry.path) },
      })
    return digest
  }

  #directory(from: Tree, entry: SelectedEntry, at: string, options: PlaceOptions): void {
    const { path, stat, rest } = resolve(this, at)
    if (rest === '' && !isDirectory(stat))
      throw new BuildError('DESTINATION', `copy to /${textOf(at)}: it is not a directory`)
    const target = rest === '' ? path : join(path, rest)
    let inode = findInode(this.root, target)
    if (!inode || inode.implicit) {
      const made = new TreeInode(S.IFDIR | 0o755)
      made.children = inode?.children ?? made.children
      inode = made
      if (target === '') return
      this.#put(target, inode)
    }
    this.#attributes(from, entry, inode, options)
  }

  #attributes(from: Tree, entry: SelectedEntry, inode: TreeInode, options: PlaceOptions): void {
    const { stat } = entry
    const type = stat.mode & S.IFMT
    const mode = stat.mode & 0o7777
    const changed = type === S.IFLNK ? 0o777 : (options.chmod?.(mode, type === S.IFDIR) ?? mode)
    inode.mode = type | changed
    inode.uid = options.owner?.uid ?? stat.uid
    inode.gid = options.owner?.gid ?? stat.gid
    inode.mtime = options.time ?? stat.mtime
    inode.mtimeNs = options.time === undefined ? stat.mtimeNs : 0
    const xattrs = from.xattrs(entry.path)
    inode.xattrs = xattrs.size > 0 ? new Map(xattrs) : undefined
  }

  /** Puts an inode at a path free of links whose parent is a directory; parents the base has become implicit. */
  #put(path: string, inode: TreeInode): void {
    let at = this.root
    const names = path.split('/')
    const last = names.pop()!
    for (const name of names) {
      let next = at.children?.get(name)
      if (!next) at.children!.set(name, (next = implicitDirectory()))
      at = next
    }
    at.children!.set(last, inode)
  }
}

function blocked(path: string): BuildError {
  return new BuildError('DESTINATION', `copy to /${textOf(path)}: a directory is in the way`)
}
