/**
 * Owns reading several layers as one tree, without mounting: `MergedTree`. Used to compare, and by ls, cat, cp, find.
 * Semantics are overlayfs's: whiteouts, opaque directories, redirects of directories, metacopy files whose data lies
 * further down. Layers are given **topmost first**.
 * Formats: names and paths are byte strings. Set-up and reading throw FsError; nothing here is a hot path of a mount.
 * Invariant: reads only; every node looked up in a layer is released by `release` of the entry that holds it.
 */
import { E, FsError } from '../errno.js'
import type { Copies } from '../layer/copies.js'
import { isWhiteout, type Layer, type LayerNode } from '../layer/layer.js'
import { S } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import { type Attributes, attributesOf, childPath, inodeOf } from './change.js'
import { isImplicit, outerLink } from './marks.js'

/** One layer's contribution to an entry. `path` is where it lies in that layer (a redirect makes it differ). */
export interface Part {
  readonly layer: Layer
  /** Position of the layer in the stack, 0 the topmost. */
  readonly index: number
  readonly node: LayerNode
  readonly path: string
}

/**
 * One object of the merged tree. `parts[0]` gives the attributes. A directory has a part for each layer that adds to
 * its listing; a file has one, or with metacopy two: the last part holds the data.
 */
export interface Entry {
  readonly path: string
  readonly parts: readonly Part[]
  readonly attributes: Attributes
  /** The directory hides what layers below have at the same path (and `parts` ends there). */
  readonly opaque: boolean
  /** Where the layers below the topmost part have this object: `path`, unless a redirect here or above says otherwise. */
  readonly origin: string
}

const scratch = new Stat()

function isDirMode(mode: number): boolean {
  return (mode & S.IFMT) === S.IFDIR
}

export class MergedTree {
  readonly layers: readonly Layer[]
  /** By inode of the lower file: the name of its copy in the upper's index. Made when it is first wanted. */
  #copies: Map<string, string> | undefined

  /** `layers` topmost first; none at all is the empty tree (no root). The tree does not close them. */
  constructor(layers: readonly Layer[]) {
    this.layers = layers
  }

  /** The root directory, or undefined for a tree of no layers. */
  root(): Entry | undefined {
    const parts: Part[] = []
    let attributes: Attributes | undefined
    let opaque = false
    let implicit = true
    for (const [index, layer] of this.layers.entries()) {
      if (implicit) {
        implicit = isImplicit(layer, layer.root)
        if (!implicit || attributes === undefined) attributes = this.#attributes(layer, layer.root, '/')
      }
      parts.push({ layer, index, node: layer.root, path: '/' })
      opaque = layer.isOpaque(layer.root)
      if (opaque) break
    }
    return attributes && { path: '/', parts, attributes, opaque: opaque && parts.length === 1, origin: '/' }
  }

  #attributes(layer: Layer, node: LayerNode, path: string): Attributes {
    const r = layer.stat(node, scratch)
    if (r < 0) throw new FsError(r, 'stat', path)
    return attributesOf(scratch, layer.fsid)
  }

  /** `name` in `dir`, or undefined. The caller releases it. */
  lookup(dir: Entry, name: string): Entry | undefined {
    const path = childPath(dir.path, name)
    const parts: Part[] = []
    let attributes: Attributes | undefined
    let origin = childPath(dir.origin, name)
    let opaque = false
    let implicit = false
    let search = new Search(dir.parts, name)
    for (;;) {
      const part = search.next()
      if (part === undefined) break
      if (isWhiteout(scratch)) {
        part.layer.release(part.node)
        break
      }
      const isDir = isDirMode(scratch.mode)
      if (attributes === undefined) attributes = attributesOf(scratch, part.layer.fsid)
      else if (isDir !== isDirMode(attributes.mode) || (!isDir && (scratch.mode & S.IFMT) !== S.IFREG)) {
        part.layer.release(part.node)
        break
      }
      if (parts.length === 0 && !isDir) {
        const target = outerLink(part.layer, part.node, scratch)
        const linked = target === undefined ? undefined : this.#below(part, path, target)
        if (linked !== undefined) return linked
      }
      if (implicit)
        attributes = { ...attributesOf(scratch, part.layer.fsid), fsid: attributes.fsid, ino: attributes.ino }
      if (implicit || parts.length === 0) implicit = isDir && isImplicit(part.layer, part.node)
      parts.push(part)
      if (isDir) {
        if (part.layer.isOpaque(part.node)) {
          if (parts.length === 1) opaque = true
          break
        }
      } else if ((attributes.mode & S.IFMT) !== S.IFREG) break
      else if (part.layer.overlayXattr(part.node, 'metacopy') === undefined) break
      const to = part.layer.overlayXattr(part.node, 'redirect')?.latin1Slice() ?? ''
      // A path from the roots leads below although the directory it stands in may have nothing there.
      const absolute = to.startsWith('/')
      if (search.last && !absolute) break
      if (to !== '') {
        if (parts.length === 1) origin = absolute ? to : childPath(dir.origin, to)
        search = absolute ? this.#fromRoots(part.index + 1, to) : search.renamed(to)
      }
    }
    if (attributes === undefined) return undefined
    const entry = { path, parts, attributes, opaque, origin }
    return this.#copyOf(entry) ?? entry
  }

  /** Names that the upper does not have can lead to copies all the same. */
  get hasCopies(): boolean {
    return this.layers[0]?.copies !== undefined
  }

  /** The entry is a copy that the upper has under another name, or in its index alone. */
  isCopy(entry: Entry): boolean {
    return this.hasCopies && entry.parts[0]?.layer === this.layers[0]?.copies?.layer
  }

  /** What the name of a lower file shows that was copied up under another of its names. Takes the entry's parts over. */
  #copyOf(entry: Entry): Entry | undefined {
    const copies = this.layers[0]?.copies
    const [first] = entry.parts
    if (copies === undefined || first === undefined || first.index === 0) return undefined
    if (entry.attributes.nlink < 2 || isDirMode(entry.attributes.mode)) return undefined
    this.#copies ??= this.#readCopies(copies)
    const name = this.#copies.get(inodeOf(entry.attributes))
    if (name === undefined) return undefined
    const { layer } = copies
    const node = layer.lookup(layer.root, name, scratch)
    if (node < 0) return undefined
    if ((scratch.mode & S.IFMT) !== (entry.attributes.mode & S.IFMT)) {
      layer.release(node)
      return undefined
    }
    const attributes = attributesOf(scratch, layer.fsid)
    const copy: Part = { layer, index: 0, node, path: `/${name}` }
    const data = layer.overlayXattr(node, 'metacopy') === undefined ? [] : entry.parts.slice(-1)
    this.release({ ...entry, parts: entry.parts.slice(0, entry.parts.length - data.length) })
    return { ...entry, parts: [copy, ...data], attributes }
  }

  #readCopies({ list }: Copies): Map<string, string> {
    const below = new MergedTree(this.layers.slice(1))
    const found = new Map<string, string>()
    for (const { name, lower } of list) {
      const entry = below.resolve(lower)
      if (entry === undefined) continue
      found.set(inodeOf(entry.attributes), name)
      below.release(entry)
    }
    return found
  }

  /** The file that `part`, a hard link to a path of the layers below, stands for. */
  #below(part: Part, path: string, target: string): Entry | undefined {
    const tree = new MergedTree(this.layers.slice(part.index + 1))
    const entry = tree.resolve(target)
    if (entry === undefined) return undefined
    part.layer.release(part.node)
    const parts = entry.parts.map(p => ({ ...p, index: p.index + part.index + 1 }))
    return { ...entry, path, origin: path, parts }
  }

  #fromRoots(first: number, path: string): Search {
    const roots: Part[] = []
    for (let index = first; index < this.layers.length; index++) {
      const layer = this.layers[index] as Layer
      roots.push({ layer, index, node: layer.root, path: '/' })
      if (layer.isOpaque(layer.root)) break
    }
    return new Search(roots, path)
  }

  release(entry: Entry): void {
    for (const part of entry.parts) if (part.node !== part.layer.root) part.layer.release(part.node)
  }

  /** Names in the first `parts` parts of `dir` (all by default), whiteouts included, each once, in byte order. */
  candidates(dir: Entry, parts: number = dir.parts.length): string[] {
    const names = new Set<string>()
    for (const part of dir.parts.slice(0, parts)) {
      const { hidden } = part.layer
      const r = part.layer.list(part.node, name => {
        if (hidden?.has(childPath(part.path, name)) !== true) names.add(name)
      })
      if (r < 0) throw new FsError(r, 'readdir', part.path)
    }
    return [...names].sort()
  }

  /** Calls `each` for every entry of `dir`, in byte order; the entry is released after the call. */
  children(dir: Entry, each: (name: string, entry: Entry) => void): void {
    for (const name of this.candidates(dir)) {
      const entry = this.lookup(dir, name)
      if (entry === undefined) continue
      try {
        each(name, entry)
      } finally {
        this.release(entry)
      }
    }
  }

  /**
   * Calls `each` for `entry` and all below it, parents first, names in byte order. `each` returning false leaves a
   * directory out. Depth is bounded by memory, not by the call stack.
   */
  walk(entry: Entry, each: (entry: Entry) => boolean | void): void {
    if (each(entry) === false || !isDirMode(entry.attributes.mode)) return
    const stack: { dir: Entry; names: string[]; at: number; mine: boolean }[] = []
    stack.push({ dir: entry, names: this.candidates(entry), at: 0, mine: false })
    try {
      for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
        const name = top.names[top.at++]
        if (name === undefined) {
          stack.pop()
          if (top.mine) this.release(top.dir)
          continue
        }
        const child = this.lookup(top.dir, name)
        if (child === undefined) continue
        let keep = false
        try {
          keep = each(child) !== false && isDirMode(child.attributes.mode)
          if (keep) stack.push({ dir: child, names: this.candidates(child), at: 0, mine: true })
        } finally {
          if (!keep) this.release(child)
        }
      }
    } finally {
      for (const { dir, mine } of stack) if (mine) this.release(dir)
    }
  }

  /**
   * The entry at an absolute path, or undefined. Symlinks on the way are followed inside the tree (`..` stops at the
   * root); a final one only with `follow`. Throws FsError ELOOP after 40, ENOTDIR through a file. The caller releases it.
   */
  resolve(path: string, follow = false): Entry | undefined {
    let names = path.split('/').filter(n => n !== '' && n !== '.')
    let links = 0
    const root = this.root()
    if (root === undefined) return undefined
    const chain: Entry[] = [root]
    try {
      for (let i = 0; i < names.length; i++) {
        const name = names[i] as string
        const dir = chain.at(-1) as Entry
        if (!isDirMode(dir.attributes.mode)) throw new FsError(E.ENOTDIR, 'open', path)
        if (name === '..') {
          if (chain.length > 1) this.release(chain.pop() as Entry)
          continue
        }
        const entry = this.lookup(dir, name)
        if (entry === undefined) return undefined
        const isLink = (entry.attributes.mode & S.IFMT) === S.IFLNK
        if (!isLink || (i === names.length - 1 && !follow)) {
          chain.push(entry)
          continue
        }
        let target: string
        try {
          target = this.readlink(entry)
        } finally {
          this.release(entry)
        }
        if (++links > 40) throw new FsError(E.ELOOP, 'open', path)
        if (target.startsWith('/')) while (chain.length > 1) this.release(chain.pop() as Entry)
        names = [...target.split('/').filter(n => n !== '' && n !== '.'), ...names.slice(i + 1)]
        i = -1
      }
      return chain.pop()
    } finally {
      for (const entry of chain) this.release(entry)
    }
  }

  readlink(entry: Entry): string {
    const { layer, node } = entry.parts[0] as Part
    const target = layer.readlink(node)
    if (typeof target === 'number') throw new FsError(target, 'readlink', entry.path)
    return target
  }

  /** Extended attributes as a user of the mount would see them, sorted by name. */
  xattrs(entry: Entry): Map<string, Buffer> {
    const { layer, node } = entry.parts[0] as Part
    const names = layer.listxattr(node)
    const found = new Map<string, Buffer>()
    if (typeof names === 'number') {
      if (names === -E.EOPNOTSUPP || names === -E.EPERM) return found
      throw new FsError(names, 'listxattr', entry.path)
    }
    for (const name of names.sort()) {
      const value = layer.getxattr(node, name)
      if (typeof value !== 'number') found.set(name, value)
      else if (value !== -E.ENODATA) throw new FsError(value, 'getxattr', entry.path)
    }
    return found
  }

  /** Opens a regular file's data, wherever in the stack it lies. An fd the caller closes; throws FsError. */
  open(entry: Entry): number {
    const part = this.data(entry)
    const fd = part.layer.open(part.node)
    if (fd < 0) throw new FsError(fd, 'open', entry.path)
    return fd
  }

  /** The part that holds a regular file's data. Throws FsError EIO for a metacopy file whose data is nowhere. */
  data(entry: Entry): Part {
    const part = entry.parts.at(-1) as Part
    if (part.layer.overlayXattr(part.node, 'metacopy') !== undefined) throw new FsError(E.EIO, 'open', entry.path)
    return part
  }

  /** sha256 (hex) of a regular file's data where the layer knows it. */
  digest(entry: Entry): string | undefined {
    const part = this.data(entry)
    return part.layer.digest?.(part.node)
  }
}

/** Looks one name (or, after an absolute redirect, one path) up in each of several directories, topmost first. */
class Search {
  readonly #dirs: readonly Part[]
  #path: string
  #at = 0
  #stop = false

  constructor(dirs: readonly Part[], path: string) {
    this.#dirs = dirs
    this.#path = path
  }

  get last(): boolean {
    return this.#stop || this.#at >= this.#dirs.length
  }

  /** The same directories from here on, under another name. */
  renamed(name: string): Search {
    const rest = new Search(this.#dirs.slice(this.#at), name)
    rest.#stop = this.#stop
    return rest
  }

  /** The next layer that has the name, its Stat in `scratch` (a whiteout too); undefined when there is none left. */
  next(): Part | undefined {
    while (!this.last) {
      const dir = this.#dirs[this.#at++] as Part
      const path = this.#path.startsWith('/') ? this.#path : childPath(dir.path, this.#path)
      if (dir.layer.hidden?.has(path) === true) continue
      const node = this.#path.includes('/') ? this.#walk(dir) : dir.layer.lookup(dir.node, this.#path, scratch)
      if (node >= 0) return { layer: dir.layer, index: dir.index, node, path }
      if (node !== -E.ENOENT && node !== -E.ENOTDIR) throw new FsError(node, 'lookup', path)
    }
    return undefined
  }

  /** Walks `#path` inside one layer. A whiteout or an opaque directory on the way ends the search below this layer. */
  #walk({ layer, node: root }: Part): number {
    const names = this.#path.split('/').filter(n => n !== '')
    let node = root
    for (let i = 0; i < names.length; i++) {
      const next = layer.lookup(node, names[i] as string, scratch)
      if (node !== root) layer.release(node)
      if (next < 0) return next
      node = next
      if (i === names.length - 1) return node
      if (!isDirMode(scratch.mode) || layer.isOpaque(node)) this.#stop = true
      if (!isDirMode(scratch.mode)) {
        layer.release(node)
        return -E.ENOTDIR
      }
      const to = layer.overlayXattr(node, 'redirect')?.latin1Slice()
      if (to !== undefined && to !== '') {
        const base = to.startsWith('/') ? to : `/${[...names.slice(0, i), to].join('/')}`
        this.#path = `${base}/${names.slice(i + 1).join('/')}`
      }
    }
    return -E.ENOENT
  }
}
