/**
 * Owns what stands between libfuse's paths and `Filesystem`'s inodes: the table of known paths (an lru-cache), the inodes of
 * open handles, and the boundary where results become replies.
 * Invariant: each name in the table, and each handle, holds one lookup of its inode, given back when it goes; each call
 * replies exactly once, and whatever is thrown becomes an errno.
 */
import { LRUCache } from 'lru-cache'
import { bytesOf, textOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { O } from '../sys/constants.js'
import { runJob } from '../sys/job.js'
import { Stat } from '../sys/stat.js'
import {
  PENDING,
  ROOT,
  noChange,
  type Caller,
  type DirSink,
  type Entry,
  type Filesystem,
  type Host,
  type Job,
  type NodeId,
  notOpened,
  type SetAttr,
} from '../union/filesystem.js'
import { direntArray } from './fuse-native-format.js'

/** Answers one request: 0 or `-errno`, then what that operation returns. To be called once. */
type Signal = (result: number, ...values: unknown[]) => void

const CACHED_PATHS = 20_000

/** Paths to inodes, and the one place where the filesystem's results become replies. */
export class Paths {
  readonly filesystem: Filesystem
  readonly caller: Caller = {
    uid: process.getuid?.() ?? 0,
    gid: process.getgid?.() ?? 0,
    pid: process.pid,
    umask: 0,
    supplementaryGid: -1,
  }
  readonly entry: Entry = { nodeid: 0, generation: 0, entryTimeout: 0, attrTimeout: 0, attr: new Stat() }
  readonly opened = notOpened()
  readonly #log: (message: string) => void
  readonly #known: LRUCache<string, NodeId>
  /** The inode of each open handle. It holds a lookup of its own, for the path may be evicted or renamed. */
  readonly #handles = new Map<number, NodeId>()
  readonly #jobs = new Set<Job>()

  constructor({ filesystem, log }: { filesystem: Filesystem; log: (message: string) => void }) {
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
