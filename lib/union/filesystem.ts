/**
 * Owns the seam that matters most: `Filesystem`, the inode-based, synchronous interface that the union implements, every
 * transport drives, and tests drive in process without a mount.
 *
 * Conventions
 * - Names, symlink targets and xattr names are byte strings (lib/bytes.ts).
 * - Every call returns `>= 0`, or `-errno`. A thrown FsError is tolerated (the driver answers its errno), anything else
 *   thrown is a bug: the driver answers EIO and logs. Nothing is allocated per call on the success path.
 * - Out-parameters (`Entry`, `OpenResult`, `Stat`) are the driver's reusable objects. The filesystem fills them and does
 *   not keep them; nor does it keep the `Caller`.
 * - `PENDING` means: not done, nothing changed that a retry would repeat. The filesystem has called `host.defer(job)`;
 *   when the job has finished and `job.done(result)` has run, the driver makes the very same call again. So a long copy
 *   never blocks the loop, and each operation stays straight-line code.
 * - Lookup counts: every `Entry` filled with a nodeid != 0 by lookup, create, mknod, mkdir, symlink, link, tmpfile and
 *   every accepted `DirSink.entry` adds one; `forget` takes them back (fuse(4), libfuse's lookup count).
 * - Permission checks are the kernel's (mount option default_permissions, POSIX_ACL): no method repeats them.
 */
import type { JobSpec } from '../sys/job.js'
import type { Stat, StatFs } from '../sys/stat.js'

/** A filesystem inode as the kernel names it. 1 is the root. Never reused within a session. */
export type NodeId = number
export const ROOT: NodeId = 1

/** Returned instead of an errno when the call waits for a deferred job. No errno is that large. */
export const PENDING = -0x40000000

/** Who asks. One object, overwritten per request. */
export interface Caller {
  uid: number
  gid: number
  pid: number
  umask: number
  /** A supplementary group the kernel sent with a create (FUSE_CREATE_SUPP_GROUP), or -1. */
  supplementaryGid: number
}

/** An answer to lookup. nodeid 0 with an entryTimeout > 0 is a cacheable "there is none". Timeouts are seconds. */
export interface Entry {
  nodeid: NodeId
  generation: number
  entryTimeout: number
  attrTimeout: number
  readonly attr: Stat
}

/** How the kernel shall do the I/O of an open file (DESIGN: one mode per nodeid until its last release). */
export const OpenMode = { Cached: 0, Passthrough: 1, Direct: 2 } as const
export type OpenMode = (typeof OpenMode)[keyof typeof OpenMode]

export interface OpenResult {
  /** The filesystem's handle, > 0, for read, write and release. */
  handle: number
  mode: OpenMode
  /** With mode Passthrough: the fd of the file to do I/O on, open until `release` of this handle. */
  backingFd: number
  /**
   * 0, or a number that this open file alone has for the filesystem's life, and that later opens may give again: its
   * content can then never be another's, and the driver may keep what it has registered for it.
   */
  backingKey: number
  /** With mode Cached: the page cache is still good. */
  keepCache: boolean
  /**
   * With mode Cached: the file is open nowhere else, nobody writes to it, and the kernel has seen nothing of its data for long:
   * the driver may give some along with the open.
   */
  fresh: boolean
}

/** What nothing has been opened into yet. */
export function notOpened(): OpenResult {
  return { handle: 0, mode: OpenMode.Cached, backingFd: -1, backingKey: 0, keepCache: false, fresh: false }
}

/** setattr's request. `valid` says which fields count; values of SetAttrValid. */
export interface SetAttr {
  valid: number
  /** Handle of an open file the caller used, 0 when by path. */
  handle: number
  mode: number
  uid: number
  gid: number
  size: number
  atime: number
  atimeNs: number
  mtime: number
  mtimeNs: number
  ctime: number
  ctimeNs: number
}

/** A request that changes nothing, to be filled. */
export function noChange(): SetAttr {
  return {
    valid: 0,
    handle: 0,
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    atime: 0,
    atimeNs: 0,
    mtime: 0,
    mtimeNs: 0,
    ctime: 0,
    ctimeNs: 0,
  }
}

/** FATTR_* of fuse_kernel.h. `KillPriv` = clear suid, and sgid if group-executable, and security.capability. */
export const SetAttrValid = {
  Mode: 1,
  Uid: 2,
  Gid: 4,
  Size: 8,
  Atime: 0x10,
  Mtime: 0x20,
  AtimeNow: 0x80,
  MtimeNow: 0x100,
  Ctime: 0x400,
  KillPriv: 0x800,
} as const

/** Where a listing goes. */
export interface DirSink {
  /** Whether entries want attributes (READDIRPLUS). */
  readonly plus: boolean
  /**
   * Without `plus`. `offset` is where a later listing goes on after this entry, > 0 and fixed for the name as long as
   * the directory's inode lives. False: no room, the entry was not taken.
   */
  name(name: string, ino: number, type: number, offset: number): boolean
  /**
   * With `plus`; the name is `names` from `from` to `to`. The entry counts as one lookup if taken and its nodeid is not 0.
   * `.` and `..` use nodeid 0.
   */
  entry(names: Buffer, from: number, to: number, offset: number, entry: Entry, type: number): boolean
}

/** Memory for data going in or out: a buffer and the address of its first byte. */
export interface Io {
  readonly buffer: Buffer
  readonly address: number
}

export interface Job {
  readonly spec: JobSpec
  /** Called by the driver in the serving thread: 0 or `-errno`. Runs before the waiting requests are made again. */
  done(result: number): void
}

/** What the driver offers the filesystem, given once at `init`. */
export interface Host {
  /** The kernel takes backing files (FUSE_PASSTHROUGH was negotiated and a trial BACKING_OPEN worked). */
  readonly passthrough: boolean
  /** The kernel caches writes (WRITEBACK_CACHE): it owns size and mtime of open files, and reads on O_WRONLY handles. */
  readonly writeback: boolean
  /** The kernel sent DONT_MASK etc.: modes arrive unmasked with `caller.umask` beside them. */
  readonly dontMask: boolean
  /** Runs `job` on another thread. The same Job object may be deferred by several requests: it runs once. */
  defer(job: Job): typeof PENDING
  /** Drop cached attributes of an inode (INVAL_INODE off < 0): safe from the serving thread. */
  invalidateAttributes(node: NodeId): void
  /** Drop every cached name at once (INC_EPOCH, Linux 6.16), false where the kernel has it not. */
  invalidateNames(): boolean
  log(message: string): void
}

export interface Filesystem {
  init(host: Host): void
  /** After the last request: close everything. */
  destroy(): void

  lookup(caller: Caller, parent: NodeId, name: string, out: Entry): number
  forget(node: NodeId, count: number): void
  /** Fills `out` (btime too). Returns the seconds the kernel may keep it, or `-errno`. `handle` 0: by path. */
  getattr(caller: Caller, node: NodeId, handle: number, out: Stat): number
  /** As getattr for the result. `valid` 0: a passthrough write happened, clear suid/sgid as KillPriv unless root. */
  setattr(caller: Caller, node: NodeId, request: SetAttr, out: Stat): number
  readlink(caller: Caller, node: NodeId): string | number

  mknod(caller: Caller, parent: NodeId, name: string, mode: number, rdev: number, out: Entry): number
  mkdir(caller: Caller, parent: NodeId, name: string, mode: number, out: Entry): number
  symlink(caller: Caller, parent: NodeId, name: string, target: string, out: Entry): number
  link(caller: Caller, node: NodeId, parent: NodeId, name: string, out: Entry): number
  unlink(caller: Caller, parent: NodeId, name: string): number
  rmdir(caller: Caller, parent: NodeId, name: string): number
  /** `flags` are RENAME bits. */
  rename(caller: Caller, parent: NodeId, name: string, newParent: NodeId, newName: string, flags: number): number

  /** `flags` are open(2)'s, O_TRUNC included (ATOMIC_O_TRUNC). `killPriv`: FUSE_OPEN_KILL_SUIDGID. ESTALE: look up again. */
  open(caller: Caller, node: NodeId, flags: number, killPriv: boolean, out: OpenResult): number
  create(
    caller: Caller,
    parent: NodeId,
    name: string,
    mode: number,
    flags: number,
    killPriv: boolean,
    out: Entry,
    open: OpenResult,
  ): number
  tmpfile(caller: Caller, parent: NodeId, mode: number, flags: number, out: Entry, open: OpenResult): number
  /** Reads up to `size` bytes at `position` into `into` from `at`. Returns the bytes read; short means end of file. */
  read(node: NodeId, handle: number, size: number, position: number, into: Io, at: number): number
  /** The fd of a file that has at each position, until the next call, what `read` would answer; `-errno` where there is none. */
  source?(node: NodeId, handle: number): number
  write(
    caller: Caller,
    node: NodeId,
    handle: number,
    size: number,
    position: number,
    from: Io,
    at: number,
    killPriv: boolean,
  ): number
  fsync(node: NodeId, handle: number, dataOnly: boolean): number
  fsyncdir(node: NodeId, dataOnly: boolean): number
  fallocate(caller: Caller, node: NodeId, handle: number, mode: number, offset: number, length: number): number
  /** SEEK_DATA and SEEK_HOLE only. Returns the offset found. */
  lseek(node: NodeId, handle: number, offset: number, whence: number): number
  copyFileRange(
    caller: Caller,
    node: NodeId,
    handle: number,
    offset: number,
    toNode: NodeId,
    toHandle: number,
    toOffset: number,
    length: number,
  ): number
  release(node: NodeId, handle: number): void

  /** Lists from after `offset` (0: the beginning) into `sink`, `.` and `..` included, until it is full or the end. */
  readdir(caller: Caller, node: NodeId, offset: number, sink: DirSink): number

  /** A value, or `-errno` (ENODATA). */
  getxattr(caller: Caller, node: NodeId, name: string): Buffer | number
  setxattr(caller: Caller, node: NodeId, name: string, value: Buffer, flags: number, killSgid: boolean): number
  listxattr(caller: Caller, node: NodeId): string[] | number
  removexattr(caller: Caller, node: NodeId, name: string): number

  /** ioctl(2): fills `reply` from its start, returns the bytes of it used; ENOTTY for what is not known. */
  ioctl(caller: Caller, node: NodeId, handle: number, command: number, input: Buffer, reply: Buffer): number
  statfs(node: NodeId, out: StatFs): number

  /** Does a little of what will be asked for next: the driver calls it while nobody asks, until it says false. */
  ahead?(): boolean
  /** Somebody walks through directory after directory, as foreseen: the next request is near. */
  readonly walking?: boolean

  /** Much of what was remembered is forgotten: the driver calls `tidy` when nothing has been asked for a while. */
  readonly untidy?: boolean
  /** Gives back memory that is not needed any more. May take a while; changes nothing that is seen. */
  tidy?(): void
}
