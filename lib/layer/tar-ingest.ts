/**
 * Owns tar entries -> layer: `LayerIngest` makes of them a `TreeInode` tree with the marks of one layer, and hands file
 * contents to an `ObjectWriter`.
 * Outcomes that are decided here: names are read relative to the layer's root (a leading `/` and `.` components are
 * dropped, `..` is refused); of two entries of one name the later wins, two directories merge; a parent that the tar does
 * not describe is implicit; a parent that is a symlink of this layer is followed within the layer's root (parents.ts; one
 * of a layer below: settle.ts), a last component never; whiteouts speak of the layers below only; a hard link to a path
 * that is not in this layer is kept as an outer link, to be resolved when layers are flattened.
 * Invariant: nothing in the tree leads outside it, and no name in it is `.`, `..`, empty or longer than 255 bytes.
 */
import { makedev, S } from '../sys/constants.js'
import { EMPTY_SHA256, RESERVED, xattrIndex } from './erofs-format.js'
import { MAX_NAME, MAX_PATH, resolveParents, type Step } from './parents.js'
import { TarError } from './tar-error.js'
import type { TarEntry, TarHandler, TarType } from './tar-read.js'
import { implicitDirectory, passThrough, TreeInode, whiteoutInode } from './tree.js'

/** Where file contents go. One file at a time: begin, any number of writes, end. */
export interface ObjectWriter {
  /** A file of `size` bytes comes, of which holes are not written. */
  begin(size: number): void
  /** Bytes at `offset`; ascending. The chunk is valid during the call only. */
  write(chunk: Buffer, offset: number): void
  /** The SHA-256 (hex) of the whole file with its holes. */
  end(): string
}

export interface IngestLimits {
  /** Entries of one layer, and bytes of all its files (holes count: they are read as zeros). */
  readonly entries: number
  readonly bytes: number
}

export const DEFAULT_LIMITS: IngestLimits = { entries: 10_000_000, bytes: 256 * 2 ** 30 }

const WHITEOUT = '.wh.'
const OPAQUE = '.wh..wh..opq'

const TYPES: Record<Exclude<TarType, 'link'>, number> = {
  file: S.IFREG,
  symlink: S.IFLNK,
  'character-device': S.IFCHR,
  'block-device': S.IFBLK,
  directory: S.IFDIR,
  fifo: S.IFIFO,
}

export class LayerIngest implements TarHandler {
  readonly root = implicitDirectory()
  readonly #objects: ObjectWriter
  readonly #limits: IngestLimits
  entries = 0
  /** Bytes of file content, holes included. */
  bytes = 0
  /** xattrs that the index cannot hold (namespaces that Linux has no number for), by name: dropped, told to the user. */
  readonly droppedXattrs = new Map<string, number>()
  #parentPath = ''
  #parent: TreeInode = this.root
  #file: TreeInode | undefined
  #entry: TarEntry | undefined
  #part = 0
  #partDone = 0
  #received = 0

  constructor(objects: ObjectWriter, limits: IngestLimits = DEFAULT_LIMITS) {
    this.#objects = objects
    this.#limits = limits
  }

  entry(entry: TarEntry): void {
    this.#file = undefined
    this.#entry = entry
    if (++this.entries > this.#limits.entries)
      throw new TarError('TAR_LIMIT', `layer has more than ${this.#limits.entries} entries`)
    const parts = splitName(entry.name, entry.name)
    if (parts.length === 0) {
      if (entry.type !== 'directory') throw new TarError('TAR_NAME', 'empty name', entry.name)
      this.#attributes(this.root, entry)
      return
    }
    if (parts[0] === RESERVED)
      throw new TarError('TAR_NAME', `${RESERVED} is reserved in the root of a layer`, entry.name)
    const name = parts.pop() as string
    const dir = this.#directory(parts, entry.name)
    if (name.startsWith(WHITEOUT)) this.#whiteout(dir, name, entry)
    else if (entry.type === 'link') this.#link(dir, name, entry)
    else this.#add(dir, name, entry)
  }

  data(chunk: Buffer): void {
    if (this.#file === undefined) return
    const parts = this.#entry?.sparse?.parts
    if (parts === undefined) {
      this.#objects.write(chunk, this.#received)
      this.#received += chunk.length
      return
    }
    for (let at = 0; at < chunk.length;) {
      const offset = parts[this.#part] as number
      const length = parts[this.#part + 1] as number
      const n = Math.min(length - this.#partDone, chunk.length - at)
      if (n > 0) this.#objects.write(chunk.subarray(at, at + n), offset + this.#partDone)
      this.#partDone += n
      at += n
      if (this.#partDone === length) {
        this.#part += 2
        this.#partDone = 0
      }
    }
    this.#received += chunk.length
  }

  end(): void {
    const file = this.#file
    if (file === undefined) return
    const hex = this.#objects.end()
    if (file.size > 0) file.object = hex
    else if (hex !== EMPTY_SHA256) throw new TarError('TAR_CORRUPT', 'empty file with content', this.#entry?.name)
    this.#file = undefined
  }

  /** After the last entry: the tree of the layer. Whiteouts inside opaque directories say nothing and are dropped. */
  finish(): TreeInode {
    const walk: TreeInode[] = [this.root]
    for (let dir = walk.pop(); dir !== undefined; dir = walk.pop()) {
      for (const [name, child] of dir.children ?? []) {
        if (child.isDirectory) walk.push(child)
        else if (dir.opaque && child.isWhiteout) dir.children?.delete(name)
      }
    }
    return this.root
  }

  /** The directory of these names, made implicit where nothing described it. */
  #directory(parts: readonly string[], entry: string): TreeInode {
    const path = parts.join('/')
    if (path === this.#parentPath) return this.#parent
    let dir: TreeInode = this.root
    for (const part of parts) {
      const child = passThrough(dir, part)
      if (!child.isDirectory) {
        dir = this.#directory(this.#resolve(parts, entry), entry)
        break
      }
      dir = child
    }
    this.#parentPath = path
    this.#parent = dir
    return dir
  }

  /** Where these names lead when the symlinks of this layer on the way are followed. */
  #resolve(parts: readonly string[], entry: string): readonly string[] {
    const resolved = resolveParents<TreeInode | undefined>(parts, this.root, stepInLayer)
    if ('problem' in resolved) throw new TarError('TAR_ESCAPE', resolved.problem, entry)
    if (resolved.parts[0] === RESERVED)
      throw new TarError('TAR_NAME', `its parent leads to ${RESERVED}, which is reserved`, entry)
    return resolved.parts
  }

  #whiteout(dir: TreeInode, name: string, entry: TarEntry): void {
    if (entry.type === 'directory') throw new TarError('TAR_NAME', 'a whiteout is no directory', entry.name)
    if (name === OPAQUE) {
      dir.opaque = true
      return
    }
    // aufs wrote more of its own (.wh..wh.plnk, .wh..wh.aufs): they say nothing about the tree.
    if (name.startsWith('.wh..wh.')) return
    const hidden = name.slice(WHITEOUT.length)
    if (hidden === '' || hidden === '.' || hidden === '..')
      throw new TarError('TAR_NAME', 'whiteout of nothing', entry.name)
    const present = dir.children?.get(hidden)
    if (present === undefined) dir.children?.set(hidden, whiteoutInode())
    else if (present.isDirectory) {
      // What the layer has there is new: not something below, with an opaque mark of its own.
      present.opaque = true
      present.implicit = false
    }
  }

  #link(dir: TreeInode, name: string, entry: TarEntry): void {
    const names = splitName(entry.target, entry.name)
    const last = names.pop()
    const target = [...this.#resolve(names, entry.name), ...(last === undefined ? [] : [last])]
    let found: TreeInode | undefined = this.root
    for (const part of target) found = found?.children?.get(part)
    if (last === undefined || found?.isDirectory === true)
      throw new TarError('TAR_ESCAPE', 'hard link to a directory', entry.name)
    if (found === undefined || found.isWhiteout) {
      found = new TreeInode(S.IFREG)
      found.outerLink = `/${target.join('/')}`
    }
    this.#put(dir, name, found)
  }

  #add(dir: TreeInode, name: string, entry: TarEntry): void {
    const present = dir.children?.get(name)
    if (entry.type === 'directory' && present?.isDirectory === true) {
      this.#attributes(present, entry)
      return
    }
    const inode = new TreeInode(TYPES[entry.type as Exclude<TarType, 'link'>])
    this.#attributes(inode, entry)
    this.#put(dir, name, inode)
    switch (entry.type) {
      case 'file':
        this.bytes += entry.size
        if (this.bytes > this.#limits.bytes)
          throw new TarError('TAR_LIMIT', `layer unpacks to more than ${this.#limits.bytes} bytes`, entry.name)
        inode.size = entry.size
        this.#file = inode
        this.#received = this.#part = this.#partDone = 0
        this.#objects.begin(entry.size)
        break
      case 'symlink':
        if (entry.target === '' || entry.target.length > MAX_PATH || entry.target.includes('\0'))
          throw new TarError('TAR_NAME', 'symlink target is empty or too long', entry.name)
        inode.target = entry.target
        inode.size = entry.target.length
        break
      case 'character-device':
      case 'block-device':
        inode.rdev = makedev(entry.major, entry.minor)
        if (inode.isWhiteout)
          throw new TarError(
            'TAR_UNSUPPORTED',
            'character device 0:0 would hide a name (overlayfs whiteout)',
            entry.name,
          )
        break
      case 'directory':
      case 'fifo':
      case 'link':
    }
  }

  #put(dir: TreeInode, name: string, inode: TreeInode): void {
    const present = dir.children?.get(name)
    // A whiteout of the same name meant what lies below: for a directory that has to be said.
    if (inode.isDirectory && present?.isWhiteout === true) inode.opaque = true
    dir.children?.set(name, inode)
    // What the path cache knows, a directory or a symlink to one, may have been replaced.
    if (present !== undefined) this.#parentPath = '\0'
  }

  #attributes(inode: TreeInode, entry: TarEntry): void {
    // Linux has no permissions of symlinks: whatever the tar says, they are shown as 0777.
    inode.mode = (inode.mode & S.IFMT) | (inode.isSymlink ? 0o777 : entry.mode)
    inode.uid = entry.uid
    inode.gid = entry.gid
    inode.mtime = entry.mtime
    inode.mtimeNs = entry.mtimeNs
    inode.implicit = false
    inode.xattrs = undefined
    for (const [name, value] of entry.xattrs ?? []) {
      if (name.length > 255 || value.length > 65535 || name.includes('\0'))
        throw new TarError(
          'TAR_UNSUPPORTED',
          `xattr of ${name.length} bytes name, ${value.length} bytes value`,
          entry.name,
        )
      if (xattrIndex(name) === 0) this.droppedXattrs.set(name, (this.droppedXattrs.get(name) ?? 0) + 1)
      else (inode.xattrs ??= new Map<string, Buffer>()).set(name, value)
    }
  }
}

/** One layer alone: what it does not describe may be anything below. */
function stepInLayer(at: TreeInode | undefined, name: string): Step<TreeInode | undefined> {
  const child = at?.children?.get(name)
  if (child === undefined || child.isWhiteout)
    return { kind: 'directory', cursor: undefined, unknown: child === undefined }
  if (child.isDirectory) return { kind: 'directory', cursor: child, unknown: child.implicit }
  return child.isSymlink ? { kind: 'symlink', target: child.target } : { kind: 'other' }
}

/** The components of a tar name. Throws TarError for what may not be. */
function splitName(name: string, entry: string): string[] {
  if (name.length > MAX_PATH) throw new TarError('TAR_NAME', `name of ${name.length} bytes`, entry)
  if (name.includes('\0')) throw new TarError('TAR_NAME', 'NUL in name', entry)
  const parts: string[] = []
  for (const part of name.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') throw new TarError('TAR_ESCAPE', 'name with ..', entry)
    if (part.length > MAX_NAME) throw new TarError('TAR_NAME', `component of ${part.length} bytes`, entry)
    parts.push(part)
  }
  return parts
}
