/**
 * Owns the portable transport: libfuse 2.9's path-based operations, by the package `fuse-native`, onto `Filesystem`.
 * For a mount that one user makes and uses. What it cannot do, by libfuse's interface or the binding's:
 * - it does not tell who asks: every request counts as the user who mounted, and others are kept out (no allow_other);
 * - no passthrough, readdirplus, rename flags, O_TMPFILE, fallocate, SEEK_HOLE; no inode numbers above 32 bits;
 * - times are kept to the millisecond, and not before 1970; names must be UTF-8 (others are not listed);
 * - one request at a time: a large copy-up makes the others wait.
 * Faults of the binding that are mended here: mtime is taken from atime (`setTimes`), a value larger than the
 * caller's buffer is read past the buffer's end (`fits`), fgetattr ignores its handle.
 * Formats: paths are text from `/`; nodeids are found by walking and kept in an lru-cache, one lookup count each.
 * Invariant: each operation replies exactly once, and whatever is thrown becomes EIO at one boundary (`reply`).
 */
import { LRUCache } from 'lru-cache'
import type Fuse from 'fuse-native'
import type { Operations, Signal } from 'fuse-native'
import { bytesOf, textOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { O } from '../sys/constants.js'
import { addressOf } from '../sys/libc.js'
import { runJob } from '../sys/job.js'
import { Stat, StatFs } from '../sys/stat.js'
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
  type Host,
  type Job,
  type NodeId,
  type OpenResult,
  type SetAttr,
} from '../union/filesystem.js'
import { direntArray, statArray, statfsObject } from './fuse-native-format.js'

/** Why this transport is not to be had here; the message names what to install. */
export class NativeUnavailable extends Error {
  override readonly name = 'NativeUnavailable'
}

export interface NativeMount {
  readonly filesystem: Filesystem
  /** Absolute. */
  readonly mountpoint: string
  readonly source: string
  readonly readOnly: boolean
  readonly log: (message: string) => void
}

/**
 * Mounts by libfuse and serves from the calling thread's event loop, which must be the main thread's. Resolves when the
 * mount answers. The binding does not say when the mount has ended: the caller watches the mount table, and must end the
 * process by `process.exit`. Throws NativeUnavailable, or Error with libfuse's reason.
 */
export async function mountNative(mount: NativeMount): Promise<void> {
  const Native = await loadNative()
  const options = [
    'subtype=lamina',
    `fsname=${mount.source}`,
    'default_permissions',
    'use_ino',
    'big_writes',
    ...(mount.readOnly ? UNCHANGING : CHANGING),
  ]
  const paths = new Paths(mount)
  class Mended extends Native {
    /** The struct of the request that is being handled. */
    #request: Buffer | undefined

    constructor() {
      super(mount.mountpoint, operations(paths), { timeout: false })
      const handle = this._handlers[OP_UTIMENS]
      this._handlers[OP_UTIMENS] = (request, opcode, ...args) => {
        this.#request = request
        handle?.(request, opcode, ...args)
      }
    }

    override _fuseOptions(): string {
      return `-o${options.join(',')}`
    }

    override _op_getattr(signal: Signal, path: string): void {
      const stat = (): unknown[] => [statArray(paths.entry.attr)]
      paths.reply(signal, () => paths.attributes(path), stat)
    }

    override _op_fgetattr(signal: Signal, path: string, fd: number): void {
      const stat = (): unknown[] => [statArray(paths.entry.attr)]
      paths.reply(signal, () => paths.attributes(path, fd), stat)
    }

    override _op_utimens(signal: Signal, path: string, atimeLow: number, atimeHigh: number): void {
      paths.reply(signal, () => setTimes(paths, path, this.#request, atimeHigh * 0x100000000 + atimeLow))
    }

    override _op_readdir(signal: Signal, path: string): void {
      const names: string[] = []
      const stats: Uint32Array[] = []
      const call = (): number => paths.list(path, names, stats)
      paths.reply(signal, call, () => [names, stats])
    }

    override _op_getxattr(signal: Signal, path: string, name: string, into: Buffer): void {
      fits(paths, signal, into, () => {
        if (isAcl(name)) return -E.EOPNOTSUPP
        const node = paths.node(path)
        return node < 0 ? node : paths.filesystem.getxattr(paths.caller, node, bytesOf(name))
      })
    }

    override _op_listxattr(signal: Signal, path: string, into: Buffer): void {
      fits(paths, signal, into, () => {
        const node = paths.node(path)
        const names = node < 0 ? node : paths.filesystem.listxattr(paths.caller, node)
        return typeof names === 'number' ? names : nameList(names)
      })
    }
  }
  const fuse = new Mended()
  await new Promise<void>((resolve, reject) => {
    fuse.mount(error => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}

/** What cannot change may be kept for ever. */
const UNCHANGING = ['ro', 'kernel_cache', 'entry_timeout=1e8', 'attr_timeout=1e8', 'negative_timeout=1e8']
/** libfuse knows paths, not inodes: the other names of a hard-linked file would show old attributes if they were kept. */
const CHANGING = ['attr_timeout=0', 'auto_cache']

/** The package, or the reason why not. */
async function loadNative(): Promise<typeof Fuse> {
  try {
    return (await import('fuse-native')).default
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (/libfuse\.so/.test(message))
      throw new NativeUnavailable('transport fuse-native needs libfuse.so.2 (Debian package libfuse2)')
    if ((error as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND')
      throw new NativeUnavailable('transport fuse-native needs the npm package fuse-native')
    throw new NativeUnavailable(`transport fuse-native cannot be loaded: ${message.split('\n')[0] ?? ''}`)
  }
}

const CACHED_PATHS = 20_000

/** Paths to inodes, and the one place where the filesystem's results become replies. */
class Paths {
  readonly filesystem: Filesystem
  readonly caller: Caller = {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    pid: process.pid,
    umask: 0,
    supplementaryGid: -1,
  }
  readonly entry: Entry = { nodeid: 0, generation: 0, entryTimeout: 0, attrTimeout: 0, attr: new Stat() }
  readonly opened: OpenResult = { handle: 0, mode: OpenMode.Cached, backingFd: -1, backingKey: 0, keepCache: false }
  readonly #log: (message: string) => void
  readonly #known: LRUCache<string, NodeId>
  /** The inode of each open handle. It holds a lookup of its own, for the path may be evicted or renamed. */
  readonly #handles = new Map<number, NodeId>()
  readonly #jobs = new Set<Job>()

  constructor({ filesystem, log }: NativeMount) {
    this.filesystem = filesystem
    this.#log = log
    this.#known = new LRUCache({ max: CACHED_PATHS, dispose: node => filesystem.forget(node, 1) })
    const host: Host = {
      passthrough: false,
      writeback: false,
      dontMask: false,
      defer: job => {
        this.#jobs.add(job)
        return PENDING
      },
      // libfuse's own timeouts of one second are all the caching there is.
      invalidateAttributes: () => undefined,
      invalidateNames: () => false,
      log,
    }
    filesystem.init(host)
  }

  /** Runs `call`, again after the jobs it waits for, and replies once: `values()` follow a result >= 0. */
  reply(signal: Signal, call: () => number, values: () => unknown[] = () => []): void {
    const result = this.#run(call)
    if (result < 0) signal(result)
    else signal(0, ...values())
  }

  /** As `reply` where the result itself is the answer: a number of bytes. */
  count(signal: Signal, call: () => number, ...values: unknown[]): void {
    signal(this.#run(call), ...values)
  }

  /** The result of `call`; `-errno` for what it throws. */
  #run(call: () => number): number {
    try {
      for (let stale = 0; ;) {
        const result = call()
        if (result === PENDING) {
          for (const job of this.#jobs) job.done(runJob(job.spec))
          this.#jobs.clear()
        } else if (result === -E.ESTALE && stale++ === 0) this.#known.clear()
        else return result
      }
    } catch (error) {
      if (error instanceof FsError) return error.errno
      this.#log(error instanceof Error ? (error.stack ?? error.message) : String(error))
      return -E.EIO
    }
  }

  /** The inode at `path`, or `-errno`. It stays valid for this request. */
  node(path: string): NodeId {
    if (path === '/') return ROOT
    const known = this.#known.get(path)
    if (known !== undefined) return known
    const r = this.#lookup(path)
    if (r < 0) return r
    this.#known.set(path, this.entry.nodeid)
    return this.entry.nodeid
  }

  /** Looks `path` up into `entry`, which counts. */
  #lookup(path: string): number {
    const parent = this.node(parentOf(path))
    if (parent < 0) return parent
    const r = this.filesystem.lookup(this.caller, parent, nameOf(path), this.entry)
    return r >= 0 && this.entry.nodeid === 0 ? -E.ENOENT : r
  }

  /** Calls `each` with the inode of the directory that `path` is in and its name there. */
  at(path: string, each: (parent: NodeId, name: string) => number): number {
    const parent = this.node(parentOf(path))
    return parent < 0 ? parent : each(parent, nameOf(path))
  }

  /** As `at`, for calls that fill `entry`, which nobody keeps. */
  making(path: string, each: (parent: NodeId, name: string) => number): number {
    const r = this.at(path, each)
    if (r >= 0 && this.entry.nodeid !== 0) this.filesystem.forget(this.entry.nodeid, 1)
    return r
  }

  /** As `at`; afterwards nothing is known of `path` and of what is below it. */
  removing(path: string, each: (parent: NodeId, name: string) => number): number {
    const r = this.at(path, each)
    if (r >= 0) this.drop(path)
    return r
  }

  drop(path: string): void {
    const below = `${path}/`
    // keys() of an lru-cache goes on over what is deleted meanwhile.
    for (const known of this.#known.keys()) if (known === path || known.startsWith(below)) this.#known.delete(known)
  }

  /** Fills `entry.attr`. */
  attributes(path: string, handle = 0): number {
    const node = this.of(path, handle)
    return node < 0 ? node : this.filesystem.getattr(this.caller, node, handle, this.entry.attr)
  }

  change(path: string, handle: number, fields: Partial<SetAttr>): number {
    const node = this.of(path, handle)
    if (node < 0) return node
    return this.filesystem.setattr(this.caller, node, { ...noChange(), handle, ...fields }, this.entry.attr)
  }

  /** The inode of an open handle, else of the path. */
  of(path: string, handle: number): NodeId {
    return this.#handles.get(handle) ?? this.node(path)
  }

  open(path: string, flags: number): number {
    let node: NodeId = ROOT
    if (path !== '/') {
      const found = this.#lookup(path)
      if (found < 0) return found
      node = this.entry.nodeid
    }
    const r = this.filesystem.open(this.caller, node, flags, false, this.opened)
    if (r >= 0) this.#handles.set(this.opened.handle, node)
    else if (node !== ROOT) this.filesystem.forget(node, 1)
    return r
  }

  /** The open flags of a create do not arrive: the handle is for reading and writing. */
  create(path: string, mode: number): number {
    return this.at(path, (parent, name) => {
      const { filesystem, caller, entry, opened } = this
      const r = filesystem.create(caller, parent, name, mode, O.RDWR | O.CREAT, false, entry, opened)
      if (r >= 0) this.#handles.set(opened.handle, entry.nodeid)
      return r
    })
  }

  release(handle: number): number {
    const node = this.#handles.get(handle)
    if (node === undefined) return -E.EBADF
    this.#handles.delete(handle)
    this.filesystem.release(node, handle)
    if (node !== ROOT) this.filesystem.forget(node, 1)
    return 0
  }

  /** All names in a directory that are UTF-8, and beside them what a dirent tells of each. */
  list(path: string, names: string[], stats: Uint32Array[]): number {
    const node = this.node(path)
    if (node < 0) return node
    names.length = stats.length = 0
    const sink: DirSink = {
      plus: false,
      name: (name, ino, type) => {
        const text = textOf(name)
        if (bytesOf(text) === name) {
          names.push(text)
          stats.push(direntArray(ino, type))
        } else this.#log(`readdir ${path}: a name that is not UTF-8 is left out: ${JSON.stringify(text)}`)
        return true
      },
      entry: () => false,
    }
    return this.filesystem.readdir(this.caller, node, 0, sink)
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/'
}

function nameOf(path: string): string {
  return bytesOf(path.slice(path.lastIndexOf('/') + 1))
}

function operations(paths: Paths): Operations {
  /** Answered by the overrides above; the binding announces to libfuse only what it finds here. */
  const overridden = (): void => undefined
  const { filesystem: fs, caller, entry, opened } = paths
  const statfs = new StatFs()
  return {
    getattr: overridden,
    fgetattr: overridden,
    utimens: overridden,
    getxattr: overridden,
    listxattr: overridden,

    readdir: overridden,
    readlink: (path, done) => {
      let target = ''
      const call = (): number => {
        const node = paths.node(path)
        const found = node < 0 ? node : fs.readlink(caller, node)
        if (typeof found === 'number') return found
        target = textOf(found)
        return 0
      }
      paths.reply(done, call, () => [target])
    },
    statfs: (_, done) =>
      paths.reply(
        done,
        () => fs.statfs(ROOT, statfs),
        () => [statfsObject(statfs)],
      ),

    open: (path, flags, done) =>
      paths.reply(
        done,
        () => paths.open(path, flags),
        () => [opened.handle],
      ),
    create: (path, mode, done) =>
      paths.reply(
        done,
        () => paths.create(path, mode),
        () => [opened.handle],
      ),
    read: (path, fd, into, size, at, done) => {
      const io = { buffer: into, address: addressOf(into) }
      paths.count(done, () => fs.read(paths.of(path, fd), fd, size, at, io, 0))
    },
    write: (path, fd, from, size, at, done) => {
      const io = { buffer: from, address: addressOf(from) }
      paths.count(done, () => fs.write(caller, paths.of(path, fd), fd, size, at, io, 0, false))
    },
    release: (_, fd, done) => paths.reply(done, () => paths.release(fd)),
    fsync: (path, dataOnly, fd, done) => paths.reply(done, () => fs.fsync(paths.of(path, fd), fd, dataOnly !== 0)),

    truncate: (path, size, done) => paths.reply(done, () => paths.change(path, 0, { valid: SetAttrValid.Size, size })),
    ftruncate: (path, fd, size, done) =>
      paths.reply(done, () => paths.change(path, fd, { valid: SetAttrValid.Size, size })),
    chmod: (path, mode, done) => paths.reply(done, () => paths.change(path, 0, { valid: SetAttrValid.Mode, mode })),
    chown: (path, uid, gid, done) => paths.reply(done, () => paths.change(path, 0, owner(uid, gid))),

    mknod: (path, mode, dev, done) =>
      paths.reply(done, () => paths.making(path, (dir, name) => fs.mknod(caller, dir, name, mode, dev, entry))),
    mkdir: (path, mode, done) =>
      paths.reply(done, () => paths.making(path, (dir, name) => fs.mkdir(caller, dir, name, mode, entry))),
    symlink: (target, path, done) =>
      paths.reply(done, () => paths.making(path, (dir, name) => fs.symlink(caller, dir, name, bytesOf(target), entry))),
    link: (path, newPath, done) =>
      paths.reply(done, () => {
        const node = paths.node(path)
        return node < 0 ? node : paths.making(newPath, (dir, name) => fs.link(caller, node, dir, name, entry))
      }),
    unlink: (path, done) => paths.reply(done, () => paths.removing(path, (dir, name) => fs.unlink(caller, dir, name))),
    rmdir: (path, done) => paths.reply(done, () => paths.removing(path, (dir, name) => fs.rmdir(caller, dir, name))),
    rename: (path, newPath, done) =>
      paths.reply(done, () =>
        paths.removing(path, (dir, name) =>
          paths.removing(newPath, (newDir, newName) => fs.rename(caller, dir, name, newDir, newName, 0)),
        ),
      ),

    setxattr: (path, name, value, _position, flags, done) =>
      paths.reply(done, () => {
        if (isAcl(name)) return -E.EOPNOTSUPP
        const node = paths.node(path)
        // The value lies in libfuse's memory, which is gone after the reply.
        return node < 0 ? node : fs.setxattr(caller, node, bytesOf(name), Buffer.from(value), flags, false)
      }),
    removexattr: (path, name, done) =>
      paths.reply(done, () => {
        const node = paths.node(path)
        return node < 0 ? node : fs.removexattr(caller, node, bytesOf(name))
      }),
  }
}

/** libfuse 2 has no POSIX ACLs: the kernel would go on with modes that an ACL has changed. */
function isAcl(name: string): boolean {
  return name.startsWith('system.posix_acl_')
}

/** chown(2)'s ids: 0xffffffff leaves one as it is. */
function owner(uid: number, gid: number): Partial<SetAttr> {
  const valid = (uid === 0xffffffff ? 0 : SetAttrValid.Uid) | (gid === 0xffffffff ? 0 : SetAttrValid.Gid)
  return { valid, uid, gid }
}

/** Replies with `produce`'s bytes in `into`: their length, 0-sized `into` asks for that alone; ERANGE if they do not fit. */
function fits(paths: Paths, signal: Signal, into: Buffer, produce: () => Buffer | number): void {
  const call = (): number => {
    const value = produce()
    if (typeof value === 'number') return value
    if (into.length === 0) return value.length
    if (value.length > into.length) return -E.ERANGE
    into.set(value)
    return value.length
  }
  paths.count(signal, call, into.buffer)
}

/** listxattr(2)'s form: names one after the other, each with its NUL. */
function nameList(names: readonly string[]): Buffer {
  const shown = names.filter(name => !isAcl(name))
  return Buffer.from(shown.map(name => `${name}\0`).join(''), 'latin1')
}

const OP_UTIMENS = 12
/** Offsets of two size_t in the binding's request struct (fuse_thread_locals_t, 64-bit): milliseconds since 1970. */
const ATIME_AT = 104
const MTIME_AT = 112

/**
 * The binding passes atime twice. Its request struct has both: mtime is read from there, once the atime found there is the
 * one that was passed. Were the struct laid out otherwise, the call fails, with the reason in the log.
 */
function setTimes(paths: Paths, path: string, request: Buffer | undefined, passed: number): number {
  const atime = request === undefined ? -1 : Number(request.readBigUInt64LE(ATIME_AT))
  if (request === undefined || atime !== passed) throw new Error('fuse-native: unknown layout of its request struct')
  const mtime = Number(request.readBigUInt64LE(MTIME_AT))
  return paths.change(path, 0, {
    valid: SetAttrValid.Atime | SetAttrValid.Mtime,
    atime: Math.floor(atime / 1000),
    atimeNs: (atime % 1000) * 1e6,
    mtime: Math.floor(mtime / 1000),
    mtimeNs: (mtime % 1000) * 1e6,
  })
}
