/**
 * Owns the test filesystem: one directory shown as it is, so that the session can be tested without a union.
 * Node ids are given to paths and never change; names under `slow` directories are read after a deferred
 * job, those under `synced` after an fsync. Names that begin with `fresh` are opened, to be read, as files nobody has read lately.
 */
import { E } from '../../lib/errno.js'
import {
  type OpenMode,
  ROOT,
  SetAttrValid,
  type Caller,
  type DirSink,
  type Entry,
  type Filesystem,
  type Host,
  type Io,
  type NodeId,
  type OpenResult,
  type SetAttr,
} from '../../lib/union/filesystem.js'
import { O } from '../../lib/sys/constants.js'
import * as dir from '../../lib/sys/dir.js'
import * as file from '../../lib/sys/file.js'
import * as stat from '../../lib/sys/stat.js'
import * as xattr from '../../lib/sys/xattr.js'

export interface MirrorOptions {
  readonly root: string
  readonly mode: OpenMode
  /** Seconds. */
  readonly timeout: number
  /** Reading the file `gated` waits, and with it the whole server, until the first number here is no longer 0. */
  readonly gate?: Int32Array
}

/** So many bytes of the file `broken` can be read. */
export const SOUND = 128 << 10

export class Mirror implements Filesystem {
  host!: Host
  readonly lookups = new Map<NodeId, number>()
  readonly #options: MirrorOptions
  readonly #root: number
  readonly #paths = new Map<NodeId, string>([[ROOT, '.']])
  readonly #nodes = new Map<string, NodeId>([['.', ROOT]])
  readonly #handles = new Set<number>()
  readonly #copied = new Set<NodeId>()
  #next = 2

  constructor(options: MirrorOptions) {
    this.#options = options
    this.#root = file.open(options.root, O.PATH | O.DIRECTORY)
  }

  init(host: Host): void {
    this.host = host
  }

  destroy(): void {
    file.close(this.#root)
  }

  #path(node: NodeId, name?: string): string {
    const path = this.#paths.get(node)
    if (path === undefined) throw new Error(`no node ${node}`)
    return name === undefined ? path : `${path}/${name}`
  }

  lookup(_: Caller, parent: NodeId, name: string, out: Entry): number {
    if (name === 'throws') throw new Error('the filesystem has a bug')
    const path = this.#path(parent, name)
    const r = stat.statat(this.#root, path, out.attr)
    out.entryTimeout = this.#options.timeout
    out.attrTimeout = this.#options.timeout
    out.generation = 0
    if (r === -E.ENOENT) {
      out.nodeid = 0
      return 0
    }
    if (r < 0) return r
    let node = this.#nodes.get(path)
    if (node === undefined) {
      node = this.#next++
      this.#nodes.set(path, node)
      this.#paths.set(node, path)
    }
    this.lookups.set(node, (this.lookups.get(node) ?? 0) + 1)
    out.nodeid = node
    return 0
  }

  #made(caller: Caller, parent: NodeId, name: string, result: number, out: Entry): number {
    if (result < 0) return result
    const gid = caller.supplementaryGid >= 0 ? caller.supplementaryGid : caller.gid
    stat.chownat(this.#root, this.#path(parent, name), caller.uid, gid)
    return this.lookup(caller, parent, name, out)
  }

  forget(node: NodeId, count: number): void {
    const left = (this.lookups.get(node) ?? 0) - count
    if (left > 0) this.lookups.set(node, left)
    else this.lookups.delete(node)
  }

  getattr(_: Caller, node: NodeId, __: number, out: stat.Stat): number {
    const r = stat.statat(this.#root, this.#path(node), out)
    return r < 0 ? r : this.#options.timeout
  }

  setattr(caller: Caller, node: NodeId, q: SetAttr, out: stat.Stat): number {
    const path = this.#path(node)
    const has = (bit: number): boolean => (q.valid & bit) !== 0
    let r = 0
    if (q.valid === 0 || has(SetAttrValid.KillPriv)) {
      stat.statat(this.#root, path, out)
      r = stat.chmodat(this.#root, path, out.mode & 0o1777)
    }
    if (r >= 0 && has(SetAttrValid.Mode)) r = stat.chmodat(this.#root, path, q.mode & 0o7777)
    if (r >= 0 && has(SetAttrValid.Uid | SetAttrValid.Gid))
      r = stat.chownat(this.#root, path, has(SetAttrValid.Uid) ? q.uid : -1, has(SetAttrValid.Gid) ? q.gid : -1)
    if (r >= 0 && has(SetAttrValid.Size)) {
      const fd = file.openat(this.#root, path, O.WRONLY)
      r = file.ftruncate(fd, q.size)
      file.close(fd)
    }
    if (r >= 0 && has(SetAttrValid.Atime | SetAttrValid.Mtime)) {
      const ns = (set: number, now: number, value: number): number =>
        has(now) ? stat.UTIME_NOW : has(set) ? value : stat.UTIME_OMIT
      const { Atime, AtimeNow, Mtime, MtimeNow } = SetAttrValid
      const atimeNs = ns(Atime, AtimeNow, q.atimeNs)
      r = stat.utimensat(this.#root, path, q.atime, atimeNs, q.mtime, ns(Mtime, MtimeNow, q.mtimeNs))
    }
    return r < 0 ? r : this.getattr(caller, node, 0, out)
  }

  readlink(_: Caller, node: NodeId): string | number {
    return dir.readlinkat(this.#root, this.#path(node))
  }

  mknod(caller: Caller, parent: NodeId, name: string, mode: number, rdev: number, out: Entry): number {
    const r = dir.mknodat(this.#root, this.#path(parent, name), mode & ~caller.umask, rdev)
    return this.#made(caller, parent, name, r, out)
  }

  mkdir(caller: Caller, parent: NodeId, name: string, mode: number, out: Entry): number {
    return this.#made(
      caller,
      parent,
      name,
      dir.mkdirat(this.#root, this.#path(parent, name), mode & ~caller.umask),
      out,
    )
  }

  symlink(caller: Caller, parent: NodeId, name: string, target: string, out: Entry): number {
    return this.#made(caller, parent, name, dir.symlinkat(target, this.#root, this.#path(parent, name)), out)
  }

  link(caller: Caller, node: NodeId, parent: NodeId, name: string, out: Entry): number {
    const r = dir.linkat(this.#root, this.#path(node), this.#root, this.#path(parent, name))
    return r < 0 ? r : this.lookup(caller, parent, name, out)
  }

  unlink(_: Caller, parent: NodeId, name: string): number {
    const path = this.#path(parent, name)
    this.#nodes.delete(path)
    return dir.unlinkat(this.#root, path)
  }

  rmdir(_: Caller, parent: NodeId, name: string): number {
    const path = this.#path(parent, name)
    this.#nodes.delete(path)
    return dir.rmdirat(this.#root, path)
  }

  rename(_: Caller, parent: NodeId, name: string, newParent: NodeId, newName: string, flags: number): number {
    const from = this.#path(parent, name)
    const to = this.#path(newParent, newName)
    const r = dir.renameat2(this.#root, from, this.#root, to, flags)
    if (r < 0) return r
    const node = this.#nodes.get(from)
    const other = this.#nodes.get(to)
    for (const [n, path] of [
      [node, to],
      [flags === 2 ? other : undefined, from],
    ] as const)
      if (n !== undefined) {
        this.#nodes.set(path, n)
        this.#paths.set(n, path)
      } else this.#nodes.delete(path)
    return 0
  }

  open(_: Caller, node: NodeId, flags: number, __: boolean, out: OpenResult): number {
    const path = this.#path(node)
    const slow = path.startsWith('./slow/')
    if ((slow || path.startsWith('./synced/')) && !this.#copied.has(node)) {
      const fd = file.openat(this.#root, path, O.RDWR)
      return this.host.defer({
        spec: slow ? { op: 'copy-range', from: fd, to: fd, start: 0, end: 0 } : { op: 'fsync', fd, dataOnly: false },
        done: () => {
          file.close(fd)
          this.#copied.add(node)
        },
      })
    }
    const r = this.#opened(file.openat(this.#root, path, this.#flags(flags)), out)
    out.fresh = out.keepCache = path.startsWith('./fresh') && (flags & O.ACCMODE) === O.RDONLY
    return r
  }

  /** With write-back the kernel also reads, and places appended data itself. */
  #flags(flags: number): number {
    const wanted = flags & ~O.NOFOLLOW
    if (!this.host.writeback || (flags & O.ACCMODE) === O.RDONLY) return wanted
    return (wanted & ~(O.ACCMODE | O.APPEND)) | O.RDWR
  }

  #opened(fd: number, out: OpenResult): number {
    if (fd < 0) return fd
    this.#handles.add(fd)
    out.handle = fd
    out.mode = this.#options.mode
    out.backingFd = fd
    out.backingKey = 0
    out.keepCache = false
    out.fresh = false
    return 0
  }

  create(
    caller: Caller,
    parent: NodeId,
    name: string,
    mode: number,
    flags: number,
    _: boolean,
    out: Entry,
    open: OpenResult,
  ): number {
    const fd = file.openat(this.#root, this.#path(parent, name), this.#flags(flags) | O.CREAT, mode & ~caller.umask)
    const r = this.#opened(fd, open)
    return r < 0 ? r : this.#made(caller, parent, name, 0, out)
  }

  tmpfile(): number {
    return -E.EOPNOTSUPP
  }

  read(node: NodeId, handle: number, size: number, position: number, into: Io, at: number): number {
    const { gate } = this.#options
    if (gate !== undefined && this.#paths.get(node) === './gated') Atomics.wait(gate, 0, 0)
    if (this.#paths.get(node) === './broken' && position + size > SOUND) return -E.EIO
    return file.preadAt(handle, into.address + at, size, position)
  }

  source(node: NodeId, handle: number): number {
    return this.#paths.get(node) === './gated' || this.#paths.get(node) === './broken' ? -E.EOPNOTSUPP : handle
  }

  write(_: Caller, __: NodeId, handle: number, size: number, position: number, from: Io, at: number): number {
    return file.pwriteAt(handle, from.address + at, size, position)
  }

  fsync(_: NodeId, handle: number): number {
    return file.fsync(handle)
  }

  fsyncdir(): number {
    return 0
  }

  fallocate(_: Caller, __: NodeId, handle: number, mode: number, offset: number, length: number): number {
    return file.fallocate(handle, mode, offset, length)
  }

  lseek(_: NodeId, handle: number, offset: number, whence: number): number {
    return file.lseek(handle, offset, whence)
  }

  copyFileRange(
    _: Caller,
    __: NodeId,
    handle: number,
    offset: number,
    ___: NodeId,
    toHandle: number,
    toOffset: number,
    length: number,
  ): number {
    return file.copyFileRange(handle, offset, toHandle, toOffset, length)
  }

  release(_: NodeId, handle: number): void {
    if (this.#handles.delete(handle)) file.close(handle)
  }

  readdir(caller: Caller, node: NodeId, offset: number, sink: DirSink): number {
    const fd = file.openat(this.#root, this.#path(node), O.RDONLY | O.DIRECTORY)
    const names: [string, number, number][] = [
      ['.', 1, 4],
      ['..', 1, 4],
    ]
    dir.listdir(fd, (name, type, ino) => names.push([name, ino, type]))
    file.close(fd)
    const out: Entry = { nodeid: 0, generation: 0, entryTimeout: 0, attrTimeout: 0, attr: new stat.Stat() }
    for (let i = offset; i < names.length; i++) {
      const [name, ino, type] = names[i] as [string, number, number]
      if (!sink.plus) {
        if (!sink.name(name, ino, type, i + 1)) break
        continue
      }
      out.nodeid = 0
      if (name !== '.' && name !== '..') this.lookup(caller, node, name, out)
      if (!sink.entry(Buffer.from(name, 'latin1'), 0, name.length, i + 1, out, type)) {
        if (out.nodeid !== 0) this.forget(out.nodeid, 1)
        break
      }
    }
    return 0
  }

  getxattr(_: Caller, node: NodeId, name: string): Buffer | number {
    return xattr.getxattrat(this.#root, this.#path(node), name)
  }

  setxattr(_: Caller, node: NodeId, name: string, value: Buffer, flags: number): number {
    return xattr.setxattrat(this.#root, this.#path(node), name, value, flags)
  }

  listxattr(_: Caller, node: NodeId): string[] | number {
    return xattr.listxattrat(this.#root, this.#path(node))
  }

  removexattr(_: Caller, node: NodeId, name: string): number {
    return xattr.removexattrat(this.#root, this.#path(node), name)
  }

  ioctl(_: Caller, node: NodeId, ___: number, command: number, input: Buffer, reply: Buffer): number {
    if (command !== 0x5af0) return -E.ENOTTY
    void node
    return input.copy(reply)
  }

  statfs(_: NodeId, out: stat.StatFs): number {
    return stat.fstatfs(this.#root, out)
  }
}
