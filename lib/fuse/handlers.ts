/**
 * Owns what each opcode does: reads the request's fields, calls the `Filesystem`, fills the reply; requests on the data of
 * files are io.ts's. Offsets in requests are 40 (fuse_in_header) + the field's offset in the opcode's struct; in replies 16
 * (fuse_out_header) + offset.
 * Opcodes that are absent are answered ENOSYS, which the kernel remembers where that is useful: no OPENDIR, FLUSH,
 * ACCESS, POLL, GETLK/SETLK (it locks by itself) any more.
 * Invariant: a result is a payload length >= 0, `-errno`, PENDING, or NO_REPLY; nothing is allocated on the way.
 */
import { E } from '../errno.js'
import { PENDING, ROOT, noChange, type Entry, type Filesystem, notOpened, type SetAttr } from '../union/filesystem.js'
import { O } from '../sys/constants.js'
import { Stat, StatFs } from '../sys/stat.js'
import { Dirents } from './dirents.js'
import { dataOnly, FileIo } from './io.js'
import type { Agreed } from './negotiate.js'
import type { Notifier } from './notify.js'
import type { OpenFiles } from './open-files.js'
import {
  FATTR_FH,
  FOpen,
  GETATTR_FH,
  IN_HEADER,
  MAX_IO,
  NO_REPLY,
  Op,
  OPEN_KILL_SUIDGID,
  OUT_HEADER,
  SETXATTR_ACL_KILL_SGID,
  Size,
} from './protocol.js'
import type { Reply } from './reply.js'
import type { Request } from './request.js'
import type { Splice } from './splice.js'
import { TREE_NAME, TREE_NODE } from './tree.js'

/** Bytes of a file's data that are given to the kernel when it is opened, if that is all of it. */
export const GIVEN_ALONG = 32 << 10
/** From this minor on (Linux 6.18, where it was tried) the kernel clears what a last page has behind the data it is given. */
const STORES_FROM = 45

/** The first byte after fuse_in_header. */
const ARG = IN_HEADER

export interface HandlersOptions {
  readonly request: Request
  readonly reply: Reply
  readonly filesystem: Filesystem
  readonly files: OpenFiles
  readonly notifier: Notifier
  readonly splice: Splice
  /** fsync succeeds without doing anything: answered ENOSYS once, which the kernel keeps as success. */
  readonly volatile: boolean
  /** Answer for the tree's second id of the root (tree.ts). */
  readonly tree: boolean
}

export class Handlers {
  readonly #in: Request
  readonly #out: Reply
  readonly #fs: Filesystem
  readonly #files: OpenFiles
  readonly #notifier: Notifier
  readonly #io: FileIo
  readonly #volatile: boolean
  #tree: boolean
  readonly #dirents: Dirents
  readonly #entry: Entry = { nodeid: 0, generation: 0, entryTimeout: 0, attrTimeout: 0, attr: new Stat() }
  readonly #opened = notOpened()
  readonly #st = new Stat()
  readonly #statfs = new StatFs()
  readonly #setattr: SetAttr = noChange()
  #noOpendir = false
  #setxattrHeader = 16
  #suppGroups = false
  #stores = false

  constructor(options: HandlersOptions) {
    this.#in = options.request
    this.#out = options.reply
    this.#fs = options.filesystem
    this.#files = options.files
    this.#notifier = options.notifier
    this.#io = new FileIo(options.request, options.reply, options.filesystem, options.splice)
    this.#volatile = options.volatile
    this.#tree = options.tree
    this.#dirents = new Dirents(options.reply, options.files)
  }

  /** Takes what INIT agreed on. Before it, no other opcode may be dispatched. */
  configure(agreed: Agreed): void {
    this.#noOpendir = agreed.noOpendir
    this.#setxattrHeader = agreed.setxattrExt ? 16 : 8
    this.#suppGroups = agreed.suppGroups
    this.#stores = agreed.minor >= STORES_FROM
    if (agreed.noOpen) this.#io.openUnannounced()
  }

  /** Answers the current request into the reply buffer. */
  dispatch(opcode: number): number {
    switch (opcode) {
      case Op.LOOKUP:
        return this.#lookup()
      case Op.GETATTR:
        return this.#getattr()
      case Op.READ:
        return this.#io.read()
      case Op.WRITE:
        return this.#io.write()
      case Op.OPEN:
        return this.#open()
      case Op.RELEASE:
        return this.#release()
      case Op.READDIRPLUS:
        return this.#readdir(true)
      case Op.READDIR:
        return this.#readdir(false)
      case Op.FORGET:
        if (!this.#in.byTree) this.#forget(this.#in.node, this.#in.u64(ARG))
        return NO_REPLY
      case Op.BATCH_FORGET:
        return this.#batchForget()
      case Op.CREATE:
        return this.#create()
      case Op.TMPFILE:
        return this.#tmpfile()
      case Op.SETATTR:
        return this.#changeAttributes()
      case Op.STATX:
        return this.#statx()
      case Op.READLINK:
        return this.#readlink()
      case Op.MKNOD:
        return this.#mknod()
      case Op.MKDIR:
        return this.#mkdir()
      case Op.SYMLINK:
        return this.#symlink()
      case Op.LINK:
        return this.#link()
      case Op.UNLINK:
        return this.#fs.unlink(this.#in.caller, this.#in.node, this.#in.name(ARG))
      case Op.RMDIR:
        return this.#fs.rmdir(this.#in.caller, this.#in.node, this.#in.name(ARG))
      case Op.RENAME:
        return this.#rename(8, 0)
      case Op.RENAME2:
        return this.#rename(16, this.#in.u32(ARG + 8))
      case Op.GETXATTR:
        return this.#getxattr()
      case Op.LISTXATTR:
        return this.#listxattr()
      case Op.SETXATTR:
        return this.#setxattr()
      case Op.REMOVEXATTR:
        return this.#fs.removexattr(this.#in.caller, this.#in.node, this.#in.name(ARG))
      case Op.FSYNC:
        return this.#volatile ? -E.ENOSYS : this.#io.fsync()
      case Op.FSYNCDIR:
        return this.#volatile ? -E.ENOSYS : this.#fs.fsyncdir(this.#in.node, dataOnly(this.#in))
      case Op.FALLOCATE:
        return this.#io.fallocate()
      case Op.LSEEK:
        return this.#io.lseek()
      case Op.COPY_FILE_RANGE:
      case Op.COPY_FILE_RANGE_64:
        return this.#io.copyFileRange(opcode === Op.COPY_FILE_RANGE_64)
      case Op.IOCTL:
        return this.#ioctl()
      case Op.STATFS:
        return this.#statvfs()
      case Op.OPENDIR:
        return this.#opendir()
      case Op.RELEASEDIR:
      case Op.DESTROY:
        return 0
      case Op.NOTIFY_REPLY:
        return NO_REPLY
      default:
        return -E.ENOSYS
    }
  }

  /**
   * The kernel did not take the reply to the current request (its caller was killed): gives back what it counted.
   * `result` is what dispatch had returned.
   */
  undo(opcode: number, result: number): void {
    if (result < 0) return
    switch (opcode) {
      case Op.CREATE:
      case Op.TMPFILE:
        if (this.#io.unannounced === undefined) {
          this.#files.release(this.#entry.nodeid, this.#in.u32(ARG))
          this.#fs.release(this.#entry.nodeid, this.#opened.handle)
        }
        this.#forget(this.#entry.nodeid, 1)
        return
      case Op.OPEN:
        this.#files.release(this.#in.node, this.#in.u32(ARG))
        this.#fs.release(this.#in.node, this.#opened.handle)
        return
      case Op.LOOKUP:
      case Op.MKNOD:
      case Op.MKDIR:
      case Op.SYMLINK:
      case Op.LINK:
        if (this.#entry.nodeid !== 0 && this.#entry.nodeid !== TREE_NODE) this.#forget(this.#entry.nodeid, 1)
        return
      case Op.READDIRPLUS:
        this.#dirents.counted(node => this.#forget(node, 1))
        return
      default:
        return
    }
  }

  #lookup(): number {
    const name = this.#in.name(ARG)
    if (this.#tree && this.#in.node === ROOT && name === TREE_NAME) return this.#lookupTree()
    const r = this.#fs.lookup(this.#in.caller, this.#in.node, name, this.#entry)
    return r < 0 ? r : this.#answerEntry()
  }

  /**
   * The root by its second id (tree.ts). Once: nobody but the server can reach the mount then. Should it be shown as it is
   * after all, the name is looked up again, and is like any other.
   */
  #lookupTree(): number {
    this.#tree = false
    const entry = this.#entry
    const timeout = this.#fs.getattr(this.#in.caller, ROOT, 0, entry.attr)
    if (timeout < 0) return timeout
    entry.nodeid = TREE_NODE
    entry.generation = 0
    entry.attrTimeout = timeout
    entry.entryTimeout = 0
    return this.#answerEntry()
  }

  /** fuse_entry_out of `#entry`. A negative entry (nodeid 0) needs its timeout only. */
  #answerEntry(): number {
    const entry = this.#entry
    this.#out.entryOut(OUT_HEADER, entry, this.#files.attrTimeout(entry.nodeid, entry.attrTimeout))
    return Size.entryOut
  }

  #batchForget(): number {
    const count = this.#in.u32(ARG)
    for (let i = 0, at = ARG + 8; i < count && at + 16 <= this.#in.end; i++, at += 16) {
      const node = this.#in.u64(at)
      if (node !== TREE_NODE) this.#forget(node, this.#in.u64(at + 8))
    }
    return NO_REPLY
  }

  #forget(node: number, count: number): void {
    this.#io.unannounced?.forget(node)
    this.#fs.forget(node, count)
  }

  #getattr(): number {
    const node = this.#in.node
    const handle = (this.#in.u32(ARG) & GETATTR_FH) !== 0 ? this.#in.u64(ARG + 8) : 0
    const timeout = this.#fs.getattr(this.#in.caller, node, handle, this.#st)
    if (timeout < 0) return timeout
    this.#out.attrOut(OUT_HEADER, this.#files.attrTimeout(node, timeout), this.#st)
    return Size.attrOut
  }

  #statx(): number {
    const node = this.#in.node
    const handle = (this.#in.u32(ARG) & GETATTR_FH) !== 0 ? this.#in.u64(ARG + 8) : 0
    const timeout = this.#fs.getattr(this.#in.caller, node, handle, this.#st)
    if (timeout < 0) return timeout
    this.#out.statxOut(OUT_HEADER, this.#files.attrTimeout(node, timeout), this.#st)
    return Size.statxOut
  }

  #changeAttributes(): number {
    const from = this.#in
    const to = this.#setattr
    const valid = from.u32(ARG)
    to.handle = (valid & FATTR_FH) !== 0 ? from.u64(ARG + 8) : 0
    to.valid = valid & ~(FATTR_FH | 0x200) // 0x200: FATTR_LOCKOWNER
    to.size = from.u64(ARG + 16)
    to.atime = from.i64(ARG + 32)
    to.mtime = from.i64(ARG + 40)
    to.ctime = from.i64(ARG + 48)
    to.atimeNs = from.u32(ARG + 56)
    to.mtimeNs = from.u32(ARG + 60)
    to.ctimeNs = from.u32(ARG + 64)
    to.mode = from.u32(ARG + 68)
    to.uid = from.u32(ARG + 76)
    to.gid = from.u32(ARG + 80)
    const timeout = this.#fs.setattr(from.caller, from.node, to, this.#st)
    if (timeout < 0) return timeout
    this.#out.attrOut(OUT_HEADER, this.#files.attrTimeout(from.node, timeout), this.#st)
    return Size.attrOut
  }

  #readlink(): number {
    const target = this.#fs.readlink(this.#in.caller, this.#in.node)
    return typeof target === 'number' ? target : this.#out.buffer.latin1Write(target, OUT_HEADER)
  }

  #mknod(): number {
    const from = this.#in
    const mode = from.u32(ARG)
    this.#creating(from.u32(ARG + 8))
    const r = this.#fs.mknod(from.caller, from.node, from.name(ARG + 16), mode, from.u32(ARG + 4), this.#entry)
    return r < 0 ? r : this.#answerEntry()
  }

  #mkdir(): number {
    const from = this.#in
    const mode = from.u32(ARG)
    this.#creating(from.u32(ARG + 4))
    const r = this.#fs.mkdir(from.caller, from.node, from.name(ARG + 8), mode, this.#entry)
    return r < 0 ? r : this.#answerEntry()
  }

  #symlink(): number {
    const from = this.#in
    this.#creating(0)
    const name = from.name(ARG)
    const r = this.#fs.symlink(from.caller, from.node, name, from.name(ARG + name.length + 1), this.#entry)
    return r < 0 ? r : this.#answerEntry()
  }

  #link(): number {
    const from = this.#in
    const r = this.#fs.link(from.caller, from.u64(ARG), from.node, from.name(ARG + 8), this.#entry)
    return r < 0 ? r : this.#answerEntry()
  }

  #creating(umask: number): void {
    this.#in.caller.umask = umask
    if (this.#suppGroups) this.#in.takeGroups()
  }

  /** `struct` is the size of fuse_rename_in or fuse_rename2_in. */
  #rename(struct: number, flags: number): number {
    const from = this.#in
    const name = from.name(ARG + struct)
    const newName = from.name(ARG + struct + name.length + 1)
    return this.#fs.rename(from.caller, from.node, name, from.nodeAt(ARG), newName, flags)
  }

  #open(): number {
    if (this.#io.unannounced !== undefined) return -E.ENOSYS
    const from = this.#in
    const flags = from.u32(ARG)
    const kill = (from.u32(ARG + 4) & OPEN_KILL_SUIDGID) !== 0
    const r = this.#fs.open(from.caller, from.node, flags, kill, this.#opened)
    if (r < 0) return r
    this.#answerOpen(OUT_HEADER, from.node, flags)
    if (this.#opened.fresh) this.#giveAlong(from.node)
    // What the kernel has cached would outlive the changes that a mapping of this file makes; nor does it look at the
    // mode again after having had the set-id bits cleared by an open that truncates.
    if (kill || this.#files.becameMappable) this.#notifier.invalidateAttributes(from.node)
    return Size.openOut
  }

  /**
   * Data of a small file that is being opened, before the open is answered: it saves the READ that mostly follows, and the
   * GETATTR after that (a READ makes the kernel forget the access time). The file is not open yet, so no READ is under way.
   */
  #giveAlong(node: number): void {
    if (!this.#stores) return
    const { data, dataAt } = this.#notifier
    const size = this.#fs.read(node, this.#opened.handle, GIVEN_ALONG + 1, 0, data, dataAt)
    if (size > 0 && size <= GIVEN_ALONG) this.#notifier.store(node, size)
  }

  #answerOpen(at: number, node: number, flags: number): void {
    const bits = this.#files.open(node, flags, this.#opened)
    this.#out.u64(at, this.#opened.handle)
    this.#out.u32(at + 8, bits)
    this.#out.u32(at + 12, this.#files.backingId)
  }

  #create(): number {
    const from = this.#in
    const flags = from.u32(ARG)
    const mode = from.u32(ARG + 4)
    const kill = (from.u32(ARG + 12) & OPEN_KILL_SUIDGID) !== 0
    this.#creating(from.u32(ARG + 8))
    const name = from.name(ARG + 16)
    const r = this.#fs.create(from.caller, from.node, name, mode, flags, kill, this.#entry, this.#opened)
    return r < 0 ? r : this.#answerCreate(flags)
  }

  #tmpfile(): number {
    const from = this.#in
    const flags = from.u32(ARG)
    const mode = from.u32(ARG + 4)
    this.#creating(from.u32(ARG + 8))
    const r = this.#fs.tmpfile(from.caller, from.node, mode, flags, this.#entry, this.#opened)
    return r < 0 ? r : this.#answerCreate(flags)
  }

  #answerCreate(flags: number): number {
    const at = OUT_HEADER + Size.entryOut
    if (this.#io.unannounced === undefined) this.#answerOpen(at, this.#entry.nodeid, flags)
    else {
      this.#io.unannounced.adopt(this.#entry.nodeid, this.#opened.handle, flags)
      this.#out.zero(at, at + Size.openOut)
      // A file that was there after all was cut by us: the kernel may have some of it.
      this.#out.u32(at + 8, (flags & O.TRUNC) === 0 ? FOpen.KEEP_CACHE : 0)
    }
    this.#answerEntry() // after the open, which decides on the attributes' timeout
    return Size.entryOut + Size.openOut
  }

  #release(): number {
    this.#files.release(this.#in.node, this.#in.u32(ARG + 8))
    this.#fs.release(this.#in.node, this.#in.u64(ARG))
    return 0
  }

  #readdir(plus: boolean): number {
    const from = this.#in
    const sink = this.#dirents
    sink.begin(plus, Math.min(from.u32(ARG + 16), MAX_IO))
    const r = this.#fs.readdir(from.caller, from.node, from.u64(ARG + 8), sink)
    return r < 0 && (r === PENDING || sink.length === 0) ? r : sink.length
  }

  #opendir(): number {
    if (this.#noOpendir) return -E.ENOSYS
    this.#out.u64(OUT_HEADER, 0)
    this.#out.u32(OUT_HEADER + 8, FOpen.CACHE_DIR | FOpen.KEEP_CACHE)
    this.#out.u32(OUT_HEADER + 12, 0)
    return Size.openOut
  }

  #getxattr(): number {
    const room = this.#in.u32(ARG)
    const value = this.#fs.getxattr(this.#in.caller, this.#in.node, this.#in.name(ARG + 8))
    if (typeof value === 'number') return value
    if (room === 0) return this.#answerSize(value.length)
    if (value.length > room) return -E.ERANGE
    this.#out.buffer.set(value, OUT_HEADER)
    return value.length
  }

  #listxattr(): number {
    const room = this.#in.u32(ARG)
    const names = this.#fs.listxattr(this.#in.caller, this.#in.node)
    if (typeof names === 'number') return names
    let length = 0
    for (const name of names) length += name.length + 1
    if (room === 0) return this.#answerSize(length)
    if (length > room) return -E.ERANGE
    let at = OUT_HEADER
    for (const name of names) {
      at += this.#out.buffer.latin1Write(name, at)
      this.#out.buffer[at++] = 0
    }
    return length
  }

  /** fuse_getxattr_out. */
  #answerSize(size: number): number {
    this.#out.u64(OUT_HEADER, size)
    return 8
  }

  #setxattr(): number {
    const from = this.#in
    const at = ARG + this.#setxattrHeader
    const kill = this.#setxattrHeader === 16 && (from.u32(ARG + 8) & SETXATTR_ACL_KILL_SGID) !== 0
    const nameEnd = from.nameEnd(at)
    const value = from.bytes(nameEnd + 1, from.u32(ARG))
    return this.#fs.setxattr(from.caller, from.node, from.name(at), value, from.u32(ARG + 4), kill)
  }

  #ioctl(): number {
    const from = this.#in
    const room = Math.min(from.u32(ARG + 28), MAX_IO)
    const reply = this.#out.buffer.subarray(OUT_HEADER + 16, OUT_HEADER + 16 + room)
    const input = from.bytes(ARG + 32, from.u32(ARG + 24))
    const r = this.#fs.ioctl(from.caller, from.node, from.u64(ARG), from.u32(ARG + 12), input, reply)
    if (r < 0) return r
    this.#out.zero(OUT_HEADER, OUT_HEADER + 16) // result 0, no retry
    return 16 + r
  }

  #statvfs(): number {
    const r = this.#fs.statfs(this.#in.node, this.#statfs)
    if (r < 0) return r
    this.#out.statfsOut(OUT_HEADER, this.#statfs)
    return Size.statfsOut
  }
}
