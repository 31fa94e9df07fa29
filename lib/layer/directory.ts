/**
 * Owns the layer that is a directory on the host: names are looked up as they are asked for, nothing is read ahead.
 * Every access is (fd of the directory, name), so no path grows past PATH_MAX and no symlink is followed; directory fds
 * are O_PATH, opened when needed and kept in an LRU cache.
 * Guard: the tree is reached through a private read-only clone of its mount (lib/sys/read-only.ts), so that no write can
 * reach it and reading leaves its atime alone. Where the kernel refuses that (a plain user; a user namespace with locked
 * submounts) the directory itself is opened, and whoever serves it must not hold write descriptors: this file opens all
 * O_RDONLY or O_PATH, and crosses no mount point (a submount is shown as an empty directory).
 * Invariant: a node's slot lives while it is referenced by the union or by a child's slot, and no longer.
 */
import { LRUCache } from 'lru-cache'
import { E, FsError } from '../errno.js'
import { AT, DT, O, RESOLVE, S } from '../sys/constants.js'
import { listdir, readlinkat } from '../sys/dir.js'
import { close, openat, openat2 } from '../sys/file.js'
import { readOnlyClone } from '../sys/read-only.js'
import { fstatfs, statat, Stat, StatFs } from '../sys/stat.js'
import { getxattrat, getxattrSizeAt, listxattrat } from '../sys/xattr.js'
import type { Copies } from './copies.js'
import { applyOverride } from './override.js'
import { DT_WHT, type Layer, type LayerNode } from './layer.js'
import {
  asWhiteout,
  bareName,
  FUSE_OVERLAYFS,
  isDeviceWhiteout,
  isMark,
  MARK,
  type Marks,
  NO_MARKS,
  OPAQUE_MARK,
  OVERRIDE_STAT,
  shownName,
  storedName,
  TRUSTED,
  USER,
} from './whiteout.js'

/** Directories kept open per layer. With 500 layers the process limit still holds: a layer used little holds little. */
const OPEN_DIRECTORIES = 256
const OVERRIDES = [OVERRIDE_STAT, `${FUSE_OVERLAYFS}override_stat`]
const ROOT = 0

/**
 * Opens the directory `path` (byte string) as a layer. Throws FsError: ENOENT, ENOTDIR, EACCES, with the path.
 */
export function openDirectoryLayer(path: string): DirectoryLayer {
  let fd = readOnlyClone(path)
  const guarded = fd >= 0
  if (!guarded) fd = openat(AT.FDCWD, path, O.PATH | O.DIRECTORY)
  if (fd < 0) throw new FsError(fd, 'open', path)
  const st = new Stat()
  const r = statat(fd, '', st, AT.EMPTY_PATH)
  if (r < 0 || (st.mode & S.IFMT) !== S.IFDIR) {
    close(fd)
    throw new FsError(r < 0 ? r : -E.ENOTDIR, 'open', path)
  }
  return new DirectoryLayer(path, fd, guarded, st.dev)
}

/** ext, XFS, tmpfs, EROFS, squashfs: on others (btrfs, overlayfs) a listing's inode numbers can differ from stat's. */
const TRUE_NUMBERS = new Set([0xef53, 0x58465342, 0x01021994, 0xe0f5e1e2, 0x73717368])

/** Whether the filesystem of directory `fd` lists the inode numbers (of what is no mount point) that stat has. */
export function listsTrueNumbers(fd: number): boolean {
  const st = new StatFs()
  return fstatfs(fd, st) === 0 && TRUE_NUMBERS.has(st.type)
}

export class DirectoryLayer implements Layer {
  readonly root: LayerNode = ROOT
  readonly fsid: number
  readonly path: string
  /** Whether the kernel itself refuses writes through this layer's fds. */
  readonly guarded: boolean
  /** Of an upper: what its hard-link index has. */
  copies: Copies | undefined
  hidden: ReadonlySet<string> | undefined

  readonly #fd: number
  // One slot per node, in parallel arrays: cheaper than an object each.
  readonly #parent: number[] = [ROOT]
  readonly #name: string[] = ['']
  readonly #refs: number[] = [1]
  readonly #free: number[] = []
  /** Marks of directories, read when first needed. */
  readonly #marks = new LRUCache<number, Marks>({ max: 4096 })
  readonly #fds: LRUCache<number, number>
  readonly #st = new Stat()
  /** Listings have the inode numbers that stat has. */
  readonly #numbers: boolean
  /** The attribute in which the layer keeps owners: its root has it. '' when it keeps them as they are. */
  readonly #override: string

  constructor(path: string, fd: number, guarded: boolean, dev: number) {
    this.path = path
    this.guarded = guarded
    this.fsid = dev
    this.#fd = fd
    this.#numbers = listsTrueNumbers(fd)
    this.#override = OVERRIDES.find(name => getxattrSizeAt(fd, '', name) > 0) ?? ''
    this.#fds = new LRUCache<number, number>({ max: OPEN_DIRECTORIES, dispose: fd => close(fd) })
  }

  lookup(dir: LayerNode, name: string, st: Stat): LayerNode {
    const r = this.peek(dir, name, st)
    return r < 0 ? r : this.#take(dir, name)
  }

  peek(dir: LayerNode, name: string, st: Stat): number {
    if (isMark(name)) return -E.ENOENT
    const fd = this.#open(dir)
    if (fd < 0) return fd === -E.EXDEV ? -E.ENOENT : fd
    const r = statat(fd, name, st)
    if (r === -E.ENOENT) return this.#hasMark(fd, name, st) ? 0 : r
    if (r < 0) return r
    if (st.size === 0 && (st.mode & S.IFMT) === S.IFREG && this.#marksOf(dir).opaque === 'x') {
      if (hasXattrWhiteout(fd, name)) asWhiteout(st)
    }
    if (this.#override !== '') applyOverride(st, getxattrat(fd, name, this.#override))
    return 0
  }

  release(node: LayerNode): void {
    for (let n = node; ;) {
      const refs = (this.#refs[n] ?? 1) - 1
      this.#refs[n] = refs
      if (refs > 0 || n === ROOT) return
      this.#fds.delete(n)
      this.#marks.delete(n)
      const parent = this.#parent[n] ?? ROOT
      this.#name[n] = ''
      this.#free.push(n)
      n = parent
    }
  }

  stat(node: LayerNode, st: Stat): number {
    const name = this.#name[node] ?? ''
    const fd = this.#at(node)
    if (fd < 0) return fd
    const r = node === ROOT ? statat(fd, '', st, AT.EMPTY_PATH) : statat(fd, name, st)
    if (r >= 0 && this.#override !== '') applyOverride(st, getxattrat(fd, name, this.#override))
    return r
  }

  list(dir: LayerNode, each: (name: string, type: number, ino: number) => void): number {
    const fd = this.#open(dir)
    if (fd < 0) return fd === -E.EXDEV ? 0 : fd
    const x = this.#marksOf(dir).opaque === 'x'
    const open = openat(fd, '.', O.RDONLY | O.DIRECTORY)
    if (open < 0) return open
    const r = listdir(open, (name, type, ino) => {
      if (isMark(name)) {
        if (name !== OPAQUE_MARK) each(name.slice(MARK.length), DT_WHT, ino)
        return
      }
      if (type === DT.UNKNOWN) {
        if (statat(fd, name, this.#st) < 0) return
        type = (this.#st.mode & S.IFMT) >> 12
      }
      if (type === DT.CHR && statat(fd, name, this.#st) === 0 && isDeviceWhiteout(this.#st)) type = DT_WHT
      else if (x && type === DT.REG && hasXattrWhiteout(fd, name)) type = DT_WHT
      // A directory of an unguarded tree may be a mount point, which the listing shows from below.
      each(name, type, this.#numbers && (this.guarded || type !== DT.DIR) ? ino : 0)
    })
    close(open)
    return r
  }

  isOpaque(dir: LayerNode): boolean {
    return this.#marksOf(dir).opaque === 'y'
  }

  readlink(node: LayerNode): string | number {
    const fd = this.#open(this.#parent[node] ?? ROOT)
    return fd < 0 ? fd : readlinkat(fd, this.#name[node] ?? '')
  }

  getxattr(node: LayerNode, name: string): Buffer | number {
    const stored = storedName(name)
    if (stored === '') return -E.ENODATA
    const fd = this.#at(node)
    return fd < 0 ? fd : getxattrat(fd, this.#name[node] ?? '', stored)
  }

  listxattr(node: LayerNode): string[] | number {
    const fd = this.#at(node)
    if (fd < 0) return fd
    const all = listxattrat(fd, this.#name[node] ?? '')
    return typeof all === 'number' ? all : all.map(shownName).filter(name => name !== '')
  }

  overlayXattr(node: LayerNode, name: string): Buffer | undefined {
    const marks = this.#marks.get(node)
    if (marks !== undefined && !marks.names.includes(name)) return undefined
    const fd = this.#at(node)
    if (fd < 0) return undefined
    for (const prefix of [TRUSTED, USER]) {
      const value = getxattrat(fd, this.#name[node] ?? '', prefix + name)
      if (typeof value !== 'number') return value
    }
    return undefined
  }

  open(node: LayerNode): number {
    const fd = this.#open(this.#parent[node] ?? ROOT)
    return fd < 0 ? fd : openat(fd, this.#name[node] ?? '', O.RDONLY | O.NOFOLLOW)
  }

  /** An fd and a name that reach `node` for calls this interface does not have (file handles); '' names the fd itself. */
  reach(node: LayerNode): { fd: number; name: string } {
    return { fd: this.#at(node), name: this.#name[node] ?? '' }
  }

  tighten(): void {
    let n = this.#refs.length
    while (n > 1 && this.#refs[n - 1] === 0) n--
    for (const slots of [this.#parent, this.#name, this.#refs]) slots.length = n
    const free = this.#free.filter(slot => slot < n)
    this.#free.length = 0
    for (const slot of free) this.#free.push(slot)
  }

  close(): void {
    this.copies?.layer.close()
    this.#fds.clear()
    close(this.#fd)
  }

  #at(node: LayerNode): number {
    return node === ROOT ? this.#fd : this.#open(this.#parent[node] ?? ROOT)
  }

  #take(parent: number, name: string): number {
    const n = this.#free.pop() ?? this.#parent.length
    this.#parent[n] = parent
    this.#name[n] = name
    this.#refs[n] = 1
    this.#refs[parent] = (this.#refs[parent] ?? 0) + 1
    return n
  }

  /** An O_PATH fd of a directory node, opened from the nearest ancestor that is open already. */
  #open(dir: LayerNode): number {
    if (dir === ROOT) return this.#fd
    const known = this.#fds.get(dir)
    if (known !== undefined) return known
    const way: number[] = []
    let fd = this.#fd
    for (let n = dir; n !== ROOT; n = this.#parent[n] ?? ROOT) {
      const open = this.#fds.get(n)
      if (open !== undefined) {
        fd = open
        break
      }
      way.push(n)
    }
    for (let i = way.length - 1; i >= 0; i--) {
      const n = way[i] ?? ROOT
      const name = this.#name[n] ?? ''
      fd = this.guarded
        ? openat(fd, name, O.PATH | O.DIRECTORY | O.NOFOLLOW)
        : openat2(fd, name, O.PATH | O.DIRECTORY | O.NOFOLLOW, 0, RESOLVE.NO_XDEV)
      if (fd < 0) return fd
      this.#fds.set(n, fd)
    }
    return fd
  }

  #hasMark(fd: number, name: string, st: Stat): boolean {
    if (name.length > 255 - MARK.length || statat(fd, MARK + name, st) < 0) return false
    asWhiteout(st)
    return true
  }

  #marksOf(dir: LayerNode): Marks {
    const known = this.#marks.get(dir)
    if (known !== undefined) return known
    const marks = this.#readMarks(dir)
    this.#marks.set(dir, marks)
    return marks
  }

  #readMarks(dir: LayerNode): Marks {
    const fd = this.#open(dir)
    if (fd < 0) return NO_MARKS
    const all = listxattrat(fd, '')
    let opaque: Marks['opaque'] = ''
    const names: string[] = []
    if (typeof all !== 'number' && all.length > 0) {
      for (const name of all) {
        const bare = bareName(name)
        if (bare !== '') names.push(bare)
        if (bare !== 'opaque' && name !== `${FUSE_OVERLAYFS}opaque`) continue
        const value = getxattrat(fd, '', name)
        const text = typeof value === 'number' ? '' : value.toString('latin1')
        if (text === 'y') opaque = 'y'
        else if (text === 'x' && opaque === '') opaque = 'x'
      }
    }
    if (opaque !== 'y' && statat(fd, OPAQUE_MARK, this.#st) === 0) opaque = 'y'
    return opaque === '' && names.length === 0 ? NO_MARKS : { opaque, names }
  }
}

function hasXattrWhiteout(fd: number, name: string): boolean {
  return getxattrSizeAt(fd, name, `${TRUSTED}whiteout`) >= 0 || getxattrSizeAt(fd, name, `${USER}whiteout`) >= 0
}
