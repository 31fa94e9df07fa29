/**
 * Owns two more kinds of `Tree` (tree.ts): the merged tree of layers, and a tree in memory (an archive that was read).
 * Contents are objects of the store in both: their digests cost nothing.
 * Invariant: nothing here reads a file to learn its digest unless the layer does not know it.
 */
import { check, FsError } from '../errno.js'
import type { Attributes } from '../diff/change.js'
import { MergedTree, type Entry } from '../diff/merged.js'
import type { Layer } from '../layer/layer.js'
import { TreeInode } from '../layer/tree.js'
import { S } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import { carried, digestOf, nameOf, parentOf, type Tree } from './tree.js'

/** Layers **topmost first**, as the union has them. Closes them when it is closed. */
export class LayersTree implements Tree {
  readonly #layers: readonly Layer[]
  readonly #merged: MergedTree
  readonly #directories = new Map<string, Entry | undefined>()

  constructor(layers: readonly Layer[]) {
    this.#layers = layers
    this.#merged = new MergedTree(layers)
  }

  stat(path: string): Stat | undefined {
    return this.#with(path, entry => statOf(entry.attributes))
  }

  list(path: string): string[] {
    const directory = this.#directory(path)
    if (!directory) throw new FsError(20, 'list', `/${path}`)
    const names: string[] = []
    this.#merged.children(directory, name => names.push(name))
    return names
  }

  readlink(path: string): string {
    return this.#need(path, entry => this.#merged.readlink(entry))
  }

  open(path: string): number {
    return this.#need(path, entry => this.#merged.open(entry))
  }

  digest(path: string): string {
    return this.#need(path, entry => this.#merged.digest(entry) ?? digestOf(this.#merged.open(entry)))
  }

  xattrs(path: string): ReadonlyMap<string, Buffer> {
    return this.#need(path, entry => {
      const all = this.#merged.xattrs(entry)
      return carried([...all.keys()], name => all.get(name) ?? -61)
    })
  }

  close(): void {
    for (const entry of this.#directories.values()) if (entry && entry.path !== '/') this.#merged.release(entry)
    this.#directories.clear()
    for (const layer of this.#layers) layer.close()
  }

  #need<T>(path: string, use: (entry: Entry) => T): T {
    const found = this.#with(path, use)
    if (found === undefined) throw new FsError(2, 'open', `/${path}`)
    return found
  }

  #with<T>(path: string, use: (entry: Entry) => T): T | undefined {
    const known = path === '' || this.#directories.has(path)
    if (known) {
      const entry = this.#directory(path)
      return entry && use(entry)
    }
    const parent = this.#directory(parentOf(path))
    const entry = parent && this.#merged.lookup(parent, nameOf(path))
    if (!entry) return undefined
    try {
      return use(entry)
    } finally {
      this.#merged.release(entry)
    }
  }

  /** Directories stay looked up: walks and resolutions come back to them. */
  #directory(path: string): Entry | undefined {
    if (this.#directories.has(path)) return this.#directories.get(path)
    let entry: Entry | undefined
    if (path === '') entry = this.#merged.root()
    else {
      const parent = this.#directory(parentOf(path))
      entry = parent && this.#merged.lookup(parent, nameOf(path))
      if (entry && (entry.attributes.mode & S.IFMT) !== S.IFDIR) {
        this.#merged.release(entry)
        entry = undefined
      }
    }
    // No entry for what is not there: a draft asks for many names once.
    if (entry) this.#directories.set(path, entry)
    return entry
  }
}

function statOf(attributes: Attributes): Stat {
  const st = new Stat()
  st.mode = attributes.mode
  st.uid = attributes.uid
  st.gid = attributes.gid
  st.size = attributes.size
  st.mtime = attributes.mtime
  st.mtimeNs = attributes.mtimeNs
  st.rdev = attributes.rdev
  st.dev = attributes.fsid
  st.ino = attributes.ino
  st.nlink = attributes.nlink
  return st
}

/** No layers at all: an empty root directory. */
export class EmptyTree implements Tree {
  stat(path: string): Stat | undefined {
    return path === '' ? inodeStat(new TreeInode(S.IFDIR | 0o755), 1) : undefined
  }
  list(): string[] {
    return []
  }
  readlink(path: string): string {
    throw new FsError(2, 'readlink', `/${path}`)
  }
  open(path: string): number {
    throw new FsError(2, 'open', `/${path}`)
  }
  digest(path: string): string {
    throw new FsError(2, 'open', `/${path}`)
  }
  xattrs(): ReadonlyMap<string, Buffer> {
    return new Map()
  }
  close(): void {}
}

/** A tree in memory over objects. Whiteouts in it are nothing. */
export class MemoryTree implements Tree {
  readonly #root: TreeInode
  readonly #openObject: (hex: string) => number
  readonly #numbers = new Map<TreeInode, number>()

  constructor(root: TreeInode, openObject: (hex: string) => number) {
    this.#root = root
    this.#openObject = openObject
  }

  stat(path: string): Stat | undefined {
    const inode = findInode(this.#root, path)
    if (!inode || inode.isWhiteout) return undefined
    let number = this.#numbers.get(inode)
    if (number === undefined) this.#numbers.set(inode, (number = this.#numbers.size + 1))
    return inodeStat(inode, number)
  }
  list(path: string): string[] {
    const { children } = this.#need(path)
    if (!children) throw new FsError(20, 'list', `/${path}`)
    return [...children]
      .filter(([, child]) => !child.isWhiteout)
      .map(([name]) => name)
      .sort()
  }
  readlink(path: string): string {
    return this.#need(path).target
  }
  open(path: string): number {
    return check(this.#openObject(this.#need(path).object || EMPTY), 'open', `/${path}`)
  }
  digest(path: string): string {
    return this.#need(path).object || EMPTY
  }
  xattrs(path: string): ReadonlyMap<string, Buffer> {
    const { xattrs } = this.#need(path)
    return carried([...(xattrs?.keys() ?? [])], name => xattrs?.get(name) ?? -61)
  }
  close(): void {}

  #need(path: string): TreeInode {
    const inode = findInode(this.#root, path)
    if (!inode) throw new FsError(2, 'open', `/${path}`)
    return inode
  }
}

/** sha256 of nothing. */
export const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** The inode at `path` below `root`, nothing followed. */
export function findInode(root: TreeInode, path: string): TreeInode | undefined {
  let at: TreeInode | undefined = root
  if (path !== '') for (const name of path.split('/')) at = at?.children?.get(name)
  return at
}

/** An inode in memory as attributes. nlink above 1 is not known: equal `ino` says the same. */
export function inodeStat(inode: TreeInode, number: number): Stat {
  const st = new Stat()
  st.mode = inode.mode
  st.uid = inode.uid
  st.gid = inode.gid
  st.size = (inode.mode & S.IFMT) === S.IFLNK ? inode.target.length : inode.size
  st.mtime = inode.mtime
  st.mtimeNs = inode.mtimeNs
  st.rdev = inode.rdev
  st.ino = number
  st.nlink = (inode.mode & S.IFMT) === S.IFREG ? 2 : 1
  return st
}
