/**
 * Owns `UnionVfs`: Vfs over a `Filesystem` in this process. It does what the kernel's VFS does in front of a FUSE server:
 * walks paths, follows symlinks, counts lookups, refuses what never reaches a filesystem, repeats calls that say ESTALE
 * or PENDING, and keeps open files alive.
 * Invariant: every lookup counted is given back by a forget; `outstanding` is 0 when no handle is open.
 */
import { E } from '../../lib/errno.js'
import { O, RENAME, S } from '../../lib/sys/constants.js'
import * as file from '../../lib/sys/file.js'
import { addressOf, alloc } from '../../lib/sys/libc.js'
import { Stat, type StatFs } from '../../lib/sys/stat.js'
import {
  OpenMode,
  PENDING,
  ROOT,
  SetAttrValid,
  noChange,
  type Caller,
  type DirSink,
  type Entry,
  type Filesystem,
  type NodeId,
  notOpened,
  type SetAttr,
} from '../../lib/union/filesystem.js'
import { TestHost, type HostOptions } from './union-host.js'
import type { Dirent, Vfs, Who } from './vfs.js'

interface Handle {
  node: NodeId
  handle: number
  flags: number
  position: number
  /** Our own open file of the backing file, -1 when I/O goes to the filesystem. */
  through: number
}

/** A mount shows one device, whatever its parts lie on. */
const DEVICE = 1
const PATH_LIMIT = 4096
const LINK_LIMIT = 40
const IO_SIZE = 1 << 20

export function newEntry(): Entry {
  return { nodeid: 0, generation: 0, entryTimeout: 0, attrTimeout: 0, attr: new Stat() }
}

export class UnionVfs implements Vfs {
  #fs!: Filesystem
  #host!: TestHost
  readonly #caller: Caller = { uid: 0, gid: 0, pid: process.pid, umask: 0, supplementaryGid: -1 }
  readonly #handles = new Map<number, Handle>()
  #nextHandle = 1
  #outstanding = 0
  /** References taken by the operation under way. */
  #held: NodeId[] = []
  /** Listings alternate between plain and with attributes, as the kernel's do. */
  #plus = false
  readonly #buffer = alloc(IO_SIZE)
  readonly #io = { buffer: this.#buffer, address: addressOf(this.#buffer) }
  readonly #open = notOpened()

  attach(fs: Filesystem, options: HostOptions): void {
    this.#fs = fs
    this.#host = new TestHost(options)
    fs.init(this.#host)
  }

  /** Releases what is open and ends the filesystem. Returns the lookups that were never given back: 0. */
  detach(): number {
    for (const id of this.#handles.keys()) this.close(id)
    this.#fs.destroy()
    const left = this.#outstanding
    this.#outstanding = 0
    return left
  }

  /** As if the process had ended: handles and lookups are not given back, only what the process held is closed. */
  abandon(): void {
    for (const { through } of this.#handles.values()) if (through >= 0) file.close(through)
    this.#handles.clear()
    this.#held = []
    this.#outstanding = 0
    this.#fs.destroy()
  }

  get messages(): readonly string[] {
    return this.#host.messages
  }

  as<T>(who: Who, run: () => T): T {
    const { uid, gid, umask, supplementaryGid } = this.#caller
    Object.assign(this.#caller, { uid: who.uid, gid: who.gid, umask: who.umask, supplementaryGid: -1 })
    try {
      return run()
    } finally {
      Object.assign(this.#caller, { uid, gid, umask, supplementaryGid })
    }
  }

  // --- names

  stat(path: string, st: Stat): number {
    return this.#operation(() => {
      const node = this.#walk(path, false, st)
      st.dev = DEVICE
      return node < 0 ? node : 0
    })
  }

  statfs(st: StatFs): number {
    return this.#fs.statfs(ROOT, st)
  }

  readlink(path: string): string | number {
    let target: string | number = -E.EIO
    const r = this.#operation(() => {
      const st = new Stat()
      const node = this.#walk(path, false, st)
      if (node < 0) return node
      if (kind(st) !== S.IFLNK) return -E.EINVAL
      target = this.#fs.readlink(this.#caller, node)
      return typeof target === 'number' ? target : 0
    })
    return r < 0 ? r : target
  }

  mkdir(path: string, mode: number): number {
    return this.#make(path, (parent, name, entry) => this.#fs.mkdir(this.#caller, parent, name, mode & 0o1777, entry))
  }

  mknod(path: string, mode: number, rdev: number): number {
    const full = (mode & S.IFMT) === 0 ? mode | S.IFREG : mode
    return this.#make(path, (parent, name, entry) => this.#fs.mknod(this.#caller, parent, name, full, rdev, entry))
  }

  symlink(target: string, path: string): number {
    if (target === '') return -E.ENOENT
    if (target.length >= PATH_LIMIT) return -E.ENAMETOOLONG
    return this.#make(path, (parent, name, entry) => this.#fs.symlink(this.#caller, parent, name, target, entry))
  }

  link(path: string, newPath: string): number {
    return this.#operation(() => {
      const st = new Stat()
      const node = this.#walk(path, false, st)
      if (node < 0) return node
      return this.#linkNode(node, st, newPath)
    })
  }

  linkFd(fd: number, newPath: string): number {
    return this.#operation(() => {
      const h = this.#handles.get(fd)
      if (!h) return -E.EBADF
      const st = new Stat()
      const r = this.#fs.getattr(this.#caller, h.node, h.handle, st)
      if (r < 0) return r
      // The VFS: only a file that never had a name may get its first one (I_LINKABLE); the new name is looked at before.
      const linkable = st.nlink > 0 || (h.flags & O.TMPFILE) === O.TMPFILE
      return this.#linkNode(h.node, st, newPath, linkable)
    })
  }

  #linkNode(node: NodeId, st: Stat, newPath: string, linkable = true): number {
    const at = this.#parentOf(newPath)
    if (typeof at === 'number') return at
    const there = this.#find(at.parent, at.name, new Stat())
    if (there >= 0) return -E.EEXIST
    if (there !== -E.ENOENT) return there
    if (kind(st) === S.IFDIR) return -E.EPERM
    if (!linkable) return -E.ENOENT
    const entry = newEntry()
    const r = this.#fs.link(this.#caller, node, at.parent, at.name, entry)
    if (r >= 0) this.#hold(entry.nodeid)
    return r
  }

  unlink(path: string): number {
    return this.#remove(path, false)
  }

  rmdir(path: string): number {
    return this.#remove(path, true)
  }

  #remove(path: string, directory: boolean): number {
    return this.#operation(() => {
      const at = this.#parentOf(path)
      if (typeof at === 'number') return at
      const st = new Stat()
      const node = this.#find(at.parent, at.name, st)
      if (node < 0) return node
      if (directory) {
        if (kind(st) !== S.IFDIR) return -E.ENOTDIR
        return this.#fs.rmdir(this.#caller, at.parent, at.name)
      }
      if (kind(st) === S.IFDIR) return -E.EISDIR
      return this.#fs.unlink(this.#caller, at.parent, at.name)
    })
  }

  rename(path: string, newPath: string, flags = 0): number {
    if ((flags & RENAME.WHITEOUT) !== 0) return -E.EINVAL
    if ((flags & RENAME.NOREPLACE) !== 0 && (flags & RENAME.EXCHANGE) !== 0) return -E.EINVAL
    return this.#operation(() => {
      const from = this.#parentOf(path)
      if (typeof from === 'number') return from
      const to = this.#parentOf(newPath)
      if (typeof to === 'number') return to
      const source = new Stat()
      const target = new Stat()
      const node = this.#find(from.parent, from.name, source)
      if (node < 0) return node
      const other = this.#find(to.parent, to.name, target)
      if (other < 0 && other !== -E.ENOENT) return other
      const exchange = (flags & RENAME.EXCHANGE) !== 0
      if (other >= 0 && (flags & RENAME.NOREPLACE) !== 0) return -E.EEXIST
      if (other < 0 && exchange) return -E.ENOENT
      // Before what the two are: neither may be above the other.
      if (to.way.includes(node)) return -E.EINVAL
      if (other >= 0 && from.way.includes(other)) return exchange ? -E.EINVAL : -E.ENOTEMPTY
      if (other === node) return 0
      if (other >= 0 && !exchange) {
        if (kind(source) === S.IFDIR && kind(target) !== S.IFDIR) return -E.ENOTDIR
        if (kind(source) !== S.IFDIR && kind(target) === S.IFDIR) return -E.EISDIR
      }
      return this.#fs.rename(this.#caller, from.parent, from.name, to.parent, to.name, flags)
    })
  }

  // --- attributes

  chmod(path: string, mode: number): number {
    return this.#setattr(path, true, r => {
      r.valid = SetAttrValid.Mode
      r.mode = mode & 0o7777
    })
  }

  fchmod(fd: number, mode: number): number {
    return this.#fsetattr(fd, r => {
      r.valid = SetAttrValid.Mode
      r.mode = mode & 0o7777
    })
  }

  chown(path: string, uid: number, gid: number): number {
    return this.#setattr(path, false, (r, st) => owner(r, st, uid, gid))
  }

  fchown(fd: number, uid: number, gid: number): number {
    return this.#fsetattr(fd, (r, st) => owner(r, st, uid, gid))
  }

  utimens(path: string, atime: number, atimeNs: number, mtime: number, mtimeNs: number): number {
    return this.#setattr(path, false, r => {
      const NOW = 0x3fffffff
      const OMIT = 0x3ffffffe
      if (atimeNs !== OMIT) r.valid |= SetAttrValid.Atime | (atimeNs === NOW ? SetAttrValid.AtimeNow : 0)
      if (mtimeNs !== OMIT) r.valid |= SetAttrValid.Mtime | (mtimeNs === NOW ? SetAttrValid.MtimeNow : 0)
      r.atime = atime
      r.atimeNs = atimeNs
      r.mtime = mtime
      r.mtimeNs = mtimeNs
    })
  }

  truncate(path: string, length: number): number {
    return this.#setattr(path, true, (r, st) => {
      if (kind(st) === S.IFDIR) return -E.EISDIR
      if (kind(st) !== S.IFREG || length < 0) return -E.EINVAL
      r.valid = SetAttrValid.Size | (this.#caller.uid === 0 ? 0 : SetAttrValid.KillPriv)
      r.size = length
      return 0
    })
  }

  ftruncate(fd: number, length: number): number {
    const h = this.#handles.get(fd)
    if (!h || (h.flags & O.ACCMODE) === O.RDONLY || length < 0) return -E.EINVAL
    return this.#fsetattr(fd, r => {
      r.valid = SetAttrValid.Size | (this.#caller.uid === 0 ? 0 : SetAttrValid.KillPriv)
      r.size = length
    })
  }

  #setattr(path: string, follow: boolean, fill: (r: SetAttr, st: Stat) => number | void): number {
    return this.#operation(() => {
      const st = new Stat()
      const node = this.#walk(path, follow, st)
      if (node < 0) return node
      return this.#setattrOf(node, 0, st, fill)
    })
  }

  #fsetattr(fd: number, fill: (r: SetAttr, st: Stat) => number | void): number {
    return this.#operation(() => {
      const h = this.#handles.get(fd)
      if (!h) return -E.EBADF
      const st = new Stat()
      const r = this.#fs.getattr(this.#caller, h.node, h.handle, st)
      return r < 0 ? r : this.#setattrOf(h.node, h.handle, st, fill)
    })
  }

  #setattrOf(node: NodeId, handle: number, st: Stat, fill: (r: SetAttr, st: Stat) => number | void): number {
    const request: SetAttr = { ...noChange(), handle }
    const refused = fill(request, st) ?? 0
    if (refused < 0) return refused
    const r = this.#fs.setattr(this.#caller, node, request, st)
    return r < 0 ? r : 0
  }

  getxattr(path: string, name: string): Buffer | number {
    return this.#onNode(path, node => this.#fs.getxattr(this.#caller, node, name))
  }

  setxattr(path: string, name: string, value: Buffer, flags = 0): number {
    if (value.length > 65536) return -E.E2BIG
    return this.#onNode(path, (node, st) => {
      if (name.startsWith('user.') && kind(st) !== S.IFREG && kind(st) !== S.IFDIR) return -E.EPERM
      return this.#fs.setxattr(this.#caller, node, name, value, flags, false)
    })
  }

  listxattr(path: string): string[] | number {
    return this.#onNode(path, node => this.#fs.listxattr(this.#caller, node))
  }

  removexattr(path: string, name: string): number {
    return this.#onNode(path, (node, st) => {
      if (name.startsWith('user.') && kind(st) !== S.IFREG && kind(st) !== S.IFDIR) return -E.EPERM
      return this.#fs.removexattr(this.#caller, node, name)
    })
  }

  #onNode<T>(path: string, run: (node: NodeId, st: Stat) => T | number): T | number {
    let answer: T | number = -E.EIO
    const r = this.#operation(() => {
      const st = new Stat()
      const node = this.#walk(path, false, st)
      if (node < 0) return node
      answer = run(node, st)
      return typeof answer === 'number' ? answer : 0
    })
    return r < 0 ? r : answer
  }

  // --- open files

  open(path: string, flags: number, mode = 0): number {
    return this.#operation(() => this.#openAt(path, flags | O.LARGEFILE, mode, 0))
  }

  #openAt(path: string, flags: number, mode: number, depth: number): number {
    if (depth > LINK_LIMIT) return -E.ELOOP
    if ((flags & O.TMPFILE) === O.TMPFILE) return this.#tmpfile(path, flags, mode)
    const st = new Stat()
    if ((flags & O.CREAT) !== 0) {
      const at = this.#parentOf(path, depth)
      if (typeof at === 'number') return at
      const there = this.#find(at.parent, at.name, st)
      if (there === -E.ENOENT) return this.#create(at.parent, at.name, flags, mode)
      if (there < 0) return there
      if ((flags & O.EXCL) !== 0) return -E.EEXIST
      if (kind(st) === S.IFLNK && (flags & O.NOFOLLOW) === 0) {
        const target = this.#fs.readlink(this.#caller, there)
        if (typeof target === 'number') return target
        return this.#openAt(join(dirname(path), target), flags, mode, depth + 1)
      }
      if (kind(st) === S.IFDIR) return -E.EISDIR
    }
    const node = this.#walk(path, (flags & O.NOFOLLOW) === 0, st, depth)
    if (node < 0) return node
    if ((flags & O.PATH) !== 0) return this.#keep(node, 0, flags, -1)
    if (kind(st) === S.IFLNK) return -E.ELOOP
    const writes = (flags & O.ACCMODE) !== O.RDONLY
    if (kind(st) === S.IFDIR) {
      if (writes || (flags & O.TRUNC) !== 0) return -E.EISDIR
      return this.#keep(node, 0, flags, -1)
    }
    if ((flags & O.DIRECTORY) !== 0) return -E.ENOTDIR
    if (kind(st) !== S.IFREG) return -E.ENXIO
    const killPriv = (flags & O.TRUNC) !== 0 && this.#caller.uid !== 0
    const r = this.#fs.open(this.#caller, node, flags & ~(O.CREAT | O.EXCL | O.NOCTTY), killPriv, this.#open)
    return r < 0 ? r : this.#opened(node, flags)
  }

  #create(parent: NodeId, name: string, flags: number, mode: number): number {
    const entry = newEntry()
    const full = S.IFREG | (mode & 0o7777)
    const r = this.#fs.create(this.#caller, parent, name, full, flags, this.#caller.uid !== 0, entry, this.#open)
    if (r < 0) return r
    this.#hold(entry.nodeid)
    return this.#opened(entry.nodeid, flags)
  }

  #tmpfile(path: string, flags: number, mode: number): number {
    if ((flags & O.ACCMODE) === O.RDONLY) return -E.EINVAL
    const st = new Stat()
    const dir = this.#walk(path, true, st)
    if (dir < 0) return dir
    if (kind(st) !== S.IFDIR) return -E.ENOTDIR
    const entry = newEntry()
    const r = this.#fs.tmpfile(this.#caller, dir, S.IFREG | (mode & 0o7777), flags, entry, this.#open)
    if (r < 0) return r
    this.#hold(entry.nodeid)
    return this.#opened(entry.nodeid, flags)
  }

  /** Keeps what the filesystem has just opened, with the reference the operation holds. */
  #opened(node: NodeId, flags: number): number {
    let through = -1
    if (this.#open.mode === OpenMode.Passthrough) {
      // As the kernel: the backing path is opened again with this open's own flags.
      through = file.open(`/proc/self/fd/${this.#open.backingFd}`, flags & (O.ACCMODE | O.APPEND))
      if (through < 0) {
        this.#fs.release(node, this.#open.handle)
        return through
      }
    }
    return this.#keep(node, this.#open.handle, flags, through)
  }

  #keep(node: NodeId, handle: number, flags: number, through: number): number {
    const held = this.#held.lastIndexOf(node)
    if (held >= 0) this.#held.splice(held, 1)
    const id = this.#nextHandle++
    this.#handles.set(id, { node, handle, flags, position: 0, through })
    return id
  }

  close(fd: number): void {
    const h = this.#handles.get(fd)
    if (!h) return
    this.#handles.delete(fd)
    if (h.through >= 0) file.close(h.through)
    if (h.handle > 0) this.#fs.release(h.node, h.handle)
    this.#forget(h.node)
  }

  fstat(fd: number, st: Stat): number {
    const h = this.#handles.get(fd)
    if (!h) return -E.EBADF
    const r = this.#fs.getattr(this.#caller, h.node, h.handle, st)
    st.dev = DEVICE
    return r < 0 ? r : 0
  }

  pread(fd: number, size: number, position: number): Buffer | number {
    const h = this.#handles.get(fd)
    if (!h || (h.flags & O.ACCMODE) === O.WRONLY || (h.flags & O.PATH) !== 0) return -E.EBADF
    if (h.handle === 0) return -E.EISDIR
    if (h.through >= 0) {
      const buffer = alloc(size)
      const n = file.pread(h.through, buffer, position)
      return n < 0 ? n : buffer.subarray(0, n)
    }
    const parts: Buffer[] = []
    for (let done = 0; done < size;) {
      const want = Math.min(size - done, IO_SIZE)
      const n = this.#finish(() => this.#fs.read(h.node, h.handle, want, position + done, this.#io, 0))
      if (n < 0) return n
      parts.push(Buffer.from(this.#buffer.subarray(0, n)))
      done += n
      if (n < want) break
    }
    return Buffer.concat(parts)
  }

  pwrite(fd: number, data: Buffer, position: number): number {
    const h = this.#handles.get(fd)
    if (!h || (h.flags & O.ACCMODE) === O.RDONLY) return -E.EBADF
    const killPriv = this.#caller.uid !== 0
    if (h.through >= 0) {
      const n = file.pwrite(h.through, data, position)
      const st = new Stat()
      const dirty = n > 0 && this.#fs.getattr(this.#caller, h.node, h.handle, st) >= 0
      // file_remove_privs: the kernel tells the server by a setattr of nothing.
      if (dirty && killPriv && (st.mode & (S.ISUID | S.ISGID)) !== 0)
        this.#operation(() => this.#setattrOf(h.node, h.handle, st, () => {}))
      return n
    }
    const at = (h.flags & O.APPEND) !== 0 ? this.#size(h) : position
    for (let done = 0; done < data.length;) {
      const n = data.copy(this.#buffer, 0, done, Math.min(data.length, done + IO_SIZE))
      const wrote = this.#finish(() =>
        this.#fs.write(this.#caller, h.node, h.handle, n, at + done, this.#io, 0, killPriv),
      )
      if (wrote < 0) return done > 0 ? done : wrote
      done += wrote
      if (wrote < n) return done
    }
    return data.length
  }

  #size(h: Handle): number {
    const st = new Stat()
    const r = this.#fs.getattr(this.#caller, h.node, h.handle, st)
    return r < 0 ? r : st.size
  }

  write(fd: number, data: Buffer): number {
    const h = this.#handles.get(fd)
    if (!h) return -E.EBADF
    if ((h.flags & O.APPEND) !== 0) h.position = this.#size(h)
    const n = this.pwrite(fd, data, h.position)
    if (n > 0) h.position += n
    return n
  }

  fallocate(fd: number, mode: number, offset: number, length: number): number {
    const h = this.#handles.get(fd)
    if (!h || (h.flags & O.ACCMODE) === O.RDONLY) return -E.EBADF
    if (offset < 0 || length <= 0) return -E.EINVAL
    return this.#finish(() => this.#fs.fallocate(this.#caller, h.node, h.handle, mode, offset, length))
  }

  seek(fd: number, offset: number, whence: number): number {
    const h = this.#handles.get(fd)
    return h ? this.#finish(() => this.#fs.lseek(h.node, h.handle, offset, whence)) : -E.EBADF
  }

  copyRange(from: number, fromAt: number, to: number, toAt: number, length: number): number {
    const a = this.#handles.get(from)
    const b = this.#handles.get(to)
    if (!a || !b || (a.flags & O.ACCMODE) === O.WRONLY || (b.flags & O.ACCMODE) === O.RDONLY) return -E.EBADF
    if ((b.flags & O.APPEND) !== 0) return -E.EBADF
    return this.#finish(() =>
      this.#fs.copyFileRange(this.#caller, a.node, a.handle, fromAt, b.node, b.handle, toAt, length),
    )
  }

  fsync(fd: number): number {
    const h = this.#handles.get(fd)
    if (!h) return -E.EBADF
    return this.#finish(() =>
      h.handle === 0 ? this.#fs.fsyncdir(h.node, false) : this.#fs.fsync(h.node, h.handle, false),
    )
  }

  // --- listings

  opendir(path: string): number {
    return this.open(path, O.RDONLY | O.DIRECTORY)
  }

  readdir(dir: number, offset: bigint, bytes: number): Dirent[] | number {
    const h = this.#handles.get(dir)
    if (!h) return -E.EBADF
    this.#plus = !this.#plus
    const sink = new ListSink(this.#plus, bytes)
    const r = this.#finish(() => {
      sink.reset()
      return this.#fs.readdir(this.#caller, h.node, Number(offset), sink)
    })
    for (const node of sink.counted) {
      this.#outstanding++
      this.#forget(node)
    }
    // As a driver does while nobody asks: names are known then that nobody looked up.
    while (this.#fs.ahead?.() === true);
    return r < 0 ? r : sink.entries
  }

  closedir(dir: number): void {
    this.close(dir)
  }

  // --- the walk

  /** Runs one system call: repeated once on ESTALE, then its references are given back. */
  #operation(run: () => number): number {
    let r = 0
    for (let attempt = 0; attempt < 2; attempt++) {
      r = this.#finish(run)
      // Given back after the repetition, as the kernel does: a request under way holds its nodes.
      this.#release()
      if (r !== -E.ESTALE) break
    }
    return r
  }

  /** Repeats `call` until it is no longer waiting for a job. */
  #finish(call: () => number): number {
    for (let i = 0; i < 1000; i++) {
      const r = call()
      if (r !== PENDING) return r
      if (!this.#host.runJobs()) throw new Error('PENDING without a deferred job')
    }
    throw new Error('PENDING for ever')
  }

  #hold(node: NodeId): void {
    if (node === 0) throw new Error('a successful call left nodeid 0')
    this.#outstanding++
    this.#held.push(node)
  }

  #release(): void {
    for (const node of this.#held) this.#forget(node)
    this.#held = []
  }

  #forget(node: NodeId): void {
    if (node === ROOT) return
    this.#outstanding--
    this.#fs.forget(node, 1)
  }

  /** One lookup. The node, referenced by this operation, or `-errno`. */
  #find(parent: NodeId, name: string, st: Stat): NodeId {
    const entry = newEntry()
    const r = this.#fs.lookup(this.#caller, parent, name, entry)
    if (r < 0) return r
    if (entry.nodeid === 0) return -E.ENOENT
    this.#hold(entry.nodeid)
    Object.assign(st, entry.attr)
    return entry.nodeid
  }

  /** The nodes that the last walk has come by, links and `..` resolved. */
  #way: readonly NodeId[] = []

  /** The node at `path`; symlinks in the middle are followed, the last one with `follow`. */
  #walk(path: string, follow: boolean, st: Stat, depth = 0): NodeId {
    if (depth > LINK_LIMIT) return -E.ELOOP
    // What a caller passes is limited; what it grows to by following links is not.
    if (depth === 0 && path.length >= PATH_LIMIT) return -E.ENAMETOOLONG
    const parts = path.split('/').filter(part => part !== '' && part !== '.')
    let node: NodeId = ROOT
    const way: NodeId[] = [ROOT]
    const r = this.#fs.getattr(this.#caller, ROOT, 0, st)
    if (r < 0) return r
    for (let i = 0; i < parts.length; i++) {
      if (kind(st) !== S.IFDIR) return -E.ENOTDIR
      const part = parts[i] ?? ''
      const before = parts.slice(0, i)
      // Above the root of a mount there is another directory, in which the names of a test are not.
      if (part === '..' && before.length === 0) return -E.ENOENT
      if (part === '..') return this.#walk([...before.slice(0, -1), ...parts.slice(i + 1)].join('/'), follow, st, depth)
      node = this.#find(node, part, st)
      if (node < 0) return node
      if (kind(st) === S.IFLNK && (follow || i < parts.length - 1)) {
        const target = this.#fs.readlink(this.#caller, node)
        if (typeof target === 'number') return target
        const rest = [join(before.join('/'), target), ...parts.slice(i + 1)].join('/')
        return this.#walk(rest, follow, st, depth + 1)
      }
      way.push(node)
    }
    this.#way = way
    return node
  }

  /** `way`: the parent and what it lies in. */
  #parentOf(path: string, depth = 0): { parent: NodeId; name: string; way: readonly NodeId[] } | number {
    if (depth === 0 && path.length >= PATH_LIMIT) return -E.ENAMETOOLONG
    const clean = path.replace(/\/+$/, '')
    if (clean === '') return -E.EEXIST
    const st = new Stat()
    const parent = this.#walk(dirname(clean), true, st, depth)
    if (parent < 0) return parent
    if (kind(st) !== S.IFDIR) return -E.ENOTDIR
    return { parent, name: clean.slice(clean.lastIndexOf('/') + 1), way: this.#way }
  }

  #make(path: string, run: (parent: NodeId, name: string, entry: Entry) => number): number {
    return this.#operation(() => {
      const at = this.#parentOf(path)
      if (typeof at === 'number') return at
      const there = this.#find(at.parent, at.name, new Stat())
      if (there >= 0) return -E.EEXIST
      if (there !== -E.ENOENT) return there
      const entry = newEntry()
      const r = run(at.parent, at.name, entry)
      if (r >= 0) this.#hold(entry.nodeid)
      return r
    })
  }
}

class ListSink implements DirSink {
  readonly plus: boolean
  readonly #room: number
  #used = 0
  entries: Dirent[] = []
  counted: NodeId[] = []

  constructor(plus: boolean, room: number) {
    this.plus = plus
    this.#room = room
  }

  reset(): void {
    this.#used = 0
    this.entries = []
    this.counted = []
  }

  name(name: string, ino: number, type: number, offset: number): boolean {
    const size = 24 + ((name.length + 7) & ~7)
    if (this.#used + size > this.#room) return false
    this.#used += size
    this.entries.push({ name, type, ino, offset: BigInt(offset) })
    return true
  }

  entry(names: Buffer, from: number, to: number, offset: number, entry: Entry, type: number): boolean {
    const taken = this.name(names.latin1Slice(from, to), entry.attr.ino, type, offset)
    if (taken && entry.nodeid !== 0) this.counted.push(entry.nodeid)
    return taken
  }
}

/** chown's request: the kernel has the server clear suid, sgid and capabilities of anything but a directory. */
function owner(r: SetAttr, st: Stat, uid: number, gid: number): void {
  if (uid >= 0) r.valid |= SetAttrValid.Uid
  if (gid >= 0) r.valid |= SetAttrValid.Gid
  if (kind(st) !== S.IFDIR) r.valid |= SetAttrValid.KillPriv
  r.uid = uid >>> 0
  r.gid = gid >>> 0
}

function kind(st: Stat): number {
  return st.mode & S.IFMT
}

function dirname(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}

function join(base: string, target: string): string {
  return target.startsWith('/') || base === '' ? target : `${base}/${target}`
}
