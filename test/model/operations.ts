/**
 * Owns the moves of the model test: an `Operation` is plain data, so that the same one is done to both trees, printed,
 * and cut out when a failing sequence is shortened. Handles are numbers of the sequence, not of a tree.
 */
import { outcome } from '../posix/case.js'
import type { Vfs } from '../posix/vfs.js'
import { FALLOC, O, RENAME, S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import type { Random } from './random.js'

export type Operation =
  | {
      readonly op: 'open'
      readonly handle: number
      readonly path: string
      readonly flags: number
      readonly mode: number
    }
  | { readonly op: 'tmpfile'; readonly handle: number; readonly path: string }
  | { readonly op: 'close' | 'fstat' | 'fsync'; readonly handle: number }
  | { readonly op: 'write'; readonly handle: number; readonly at: number; readonly size: number; readonly fill: number }
  | { readonly op: 'read'; readonly handle: number; readonly at: number; readonly size: number }
  | { readonly op: 'ftruncate' | 'fchmod'; readonly handle: number; readonly value: number }
  | {
      readonly op: 'fallocate'
      readonly handle: number
      readonly mode: number
      readonly at: number
      readonly size: number
    }
  | { readonly op: 'linkFd'; readonly handle: number; readonly path: string }
  | { readonly op: 'mkdir' | 'chmod' | 'truncate'; readonly path: string; readonly value: number }
  | { readonly op: 'mknod'; readonly path: string; readonly mode: number; readonly rdev: number }
  | { readonly op: 'unlink' | 'rmdir' | 'readlink' | 'list'; readonly path: string }
  | { readonly op: 'symlink'; readonly target: string; readonly path: string }
  | { readonly op: 'link'; readonly path: string; readonly to: string }
  | { readonly op: 'rename'; readonly path: string; readonly to: string; readonly flags: number }
  | { readonly op: 'chown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly op: 'utimens'; readonly path: string; readonly value: number }
  | {
      readonly op: 'setxattr'
      readonly path: string
      readonly name: string
      readonly value: string
      readonly flags: number
    }
  | { readonly op: 'removexattr'; readonly path: string; readonly name: string }
  | { readonly op: 'remount' }

const names = ['a', 'b', 'c', 'd', 'e', '\xff\x01', 'n'.repeat(200)]
const modes = [0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o000]

/** Chooses operations; keeps in mind which handles are open, nothing else: wrong names are part of the test. */
export class Chooser {
  readonly #random: Random
  readonly #handles: number[] = []
  #next = 0
  readonly #remounts: number

  /** `remounts`: how likely a step is a remount. */
  constructor(random: Random, remounts: number) {
    this.#random = random
    this.#remounts = remounts
  }

  choose(): Operation {
    const r = this.#random
    if (r.chance(this.#remounts)) {
      this.#handles.length = 0
      return { op: 'remount' }
    }
    const onHandle = this.#handles.length > 0 && r.chance(0.3)
    return onHandle ? this.#handleMove() : this.#pathMove()
  }

  #path(): string {
    const depth = 1 + this.#random.below(3)
    return Array.from({ length: depth }, () =>
      this.#random.pick(names.slice(0, this.#random.chance(0.8) ? 4 : 7)),
    ).join('/')
  }

  #handleMove(): Operation {
    const r = this.#random
    const handle = r.pick(this.#handles)
    const at = r.below(3) * 4096 + r.below(100)
    const size = 1 + r.below(9000)
    switch (r.below(11)) {
      case 0:
      case 1: {
        this.#handles.splice(this.#handles.indexOf(handle), 1)
        return { op: 'close', handle }
      }
      case 2:
      case 3:
      case 4:
        return { op: 'write', handle, at, size, fill: 65 + r.below(26) }
      case 5:
        return { op: 'read', handle, at, size }
      case 6:
        return { op: 'ftruncate', handle, value: r.below(20_000) }
      case 7:
        return { op: 'fchmod', handle, value: r.pick(modes) }
      case 8:
        return {
          op: 'fallocate',
          handle,
          mode: r.pick([0, FALLOC.KEEP_SIZE, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE]),
          at,
          size,
        }
      case 9:
        return r.chance(0.5) ? { op: 'linkFd', handle, path: this.#path() } : { op: 'fsync', handle }
      default:
        return { op: 'fstat', handle }
    }
  }

  #open(): Operation {
    const r = this.#random
    const handle = this.#next++
    this.#handles.push(handle)
    if (r.chance(0.1)) return { op: 'tmpfile', handle, path: this.#path() }
    let flags: number = r.pick([O.RDONLY, O.WRONLY, O.RDWR, O.RDWR])
    if (r.chance(0.5)) flags |= O.CREAT
    if (r.chance(0.1)) flags |= O.EXCL
    if (r.chance(0.2)) flags |= O.TRUNC
    return { op: 'open', handle, path: this.#path(), flags: flags | O.NOFOLLOW | O.NONBLOCK, mode: r.pick(modes) }
  }

  #pathMove(): Operation {
    const r = this.#random
    const path = this.#path()
    switch (r.below(24)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return this.#handles.length < 8 ? this.#open() : this.#handleMove()
      case 4:
      case 5:
        return { op: 'mkdir', path, value: r.pick([0o755, 0o700, 0o1777]) }
      case 6:
        return { op: 'mknod', path, mode: r.pick([S.IFREG, S.IFIFO, S.IFSOCK, S.IFCHR]) | 0o640, rdev: 0x103 }
      case 7:
      case 8:
        return { op: 'unlink', path }
      case 9:
      case 10:
        return { op: 'rmdir', path }
      case 11:
        return { op: 'symlink', target: this.#path(), path }
      case 12:
      case 13:
        return { op: 'link', path, to: this.#path() }
      case 14:
      case 15:
      case 16:
      case 17:
        return { op: 'rename', path, to: this.#path(), flags: r.pick([0, 0, 0, RENAME.NOREPLACE, RENAME.EXCHANGE]) }
      case 18:
        return { op: 'chmod', path, value: r.pick(modes) }
      case 19:
        // Not both -1: chown of nothing clears suid elsewhere, and reaches a FUSE server as a request that asks nothing.
        return { op: 'chown', path, uid: r.pick([-1, 0, 5]), gid: r.pick([0, 6]) }
      case 20:
        return r.chance(0.5)
          ? { op: 'utimens', path, value: r.below(1000) }
          : { op: 'truncate', path, value: r.below(20_000) }
      case 21:
        return {
          op: 'setxattr',
          path,
          name: r.pick(['user.x', 'trusted.y']),
          value: String(r.below(9)),
          flags: r.below(3),
        }
      case 22:
        return { op: 'removexattr', path, name: r.pick(['user.x', 'trusted.y']) }
      default:
        return r.chance(0.5) ? { op: 'list', path } : { op: 'readlink', path }
    }
  }
}

const special = new Set<number>([S.IFIFO, S.IFCHR, S.IFSOCK])

/** One tree with the sequence's handles open in it. */
export class Player {
  readonly #fs: Vfs
  readonly #remount: () => void
  readonly #handles = new Map<number, number>()
  /** Inodes of the lowers' files whose data nobody has changed yet. */
  readonly #pristine = new Set<number>()
  /** Handles that only read, with the inode they were opened on. */
  readonly #readers = new Map<number, number>()
  /** Those whose inode was pristine until somebody opened it for writing. */
  readonly #behind = new Set<number>()

  /**
   * `lowers`: files of the lowers whose readers, with passthrough, go on reading what they opened when the first writer comes
   * (README, "Differences from ext4"). What such a handle reads, and its size, is then left out, in both trees.
   */
  constructor(fs: Vfs, remount: () => void, lowers: readonly string[] = []) {
    this.#fs = fs
    this.#remount = remount
    const st = new Stat()
    for (const path of lowers) if (fs.stat(path, st) === 0) this.#pristine.add(st.ino)
  }

  /** The data of inode `ino` is about to be changed. */
  #writing(ino: number): void {
    if (!this.#pristine.delete(ino)) return
    for (const [handle, of] of this.#readers) if (of === ino) this.#behind.add(handle)
  }

  #forget(handle: number): void {
    this.#handles.delete(handle)
    this.#readers.delete(handle)
    this.#behind.delete(handle)
  }

  /** Does `o`; what came of it, as text that both trees must agree on. */
  play(o: Operation): string {
    const fs = this.#fs
    switch (o.op) {
      case 'remount':
        for (const handle of this.#handles.keys()) this.#forget(handle)
        this.#remount()
        return 'OK'
      case 'open':
      case 'tmpfile': {
        const st = new Stat()
        // Opening a FIFO or a device is not the filesystem's business.
        if (fs.stat(o.path, st) === 0 && special.has(st.mode & S.IFMT)) return 'special'
        const fd = o.op === 'open' ? fs.open(o.path, o.flags, o.mode) : fs.open(o.path, O.TMPFILE | O.RDWR, 0o600)
        if (fd < 0) return outcome(fd)
        fs.fstat(fd, st)
        this.#forget(o.handle)
        this.#handles.set(o.handle, fd)
        if (o.op === 'open' && (o.flags & (O.ACCMODE | O.TRUNC)) === O.RDONLY) this.#readers.set(o.handle, st.ino)
        else this.#writing(st.ino)
        return `OK ${st.mode.toString(8)}`
      }
      case 'mkdir':
        return outcome(fs.mkdir(o.path, o.value))
      case 'mknod':
        return outcome(fs.mknod(o.path, o.mode, o.rdev))
      case 'unlink':
        return outcome(fs.unlink(o.path))
      case 'rmdir':
        return outcome(fs.rmdir(o.path))
      case 'readlink': {
        const target = fs.readlink(o.path)
        return typeof target === 'number' ? outcome(target) : target
      }
      case 'list':
        return this.#list(o.path)
      case 'symlink':
        return outcome(fs.symlink(o.target, o.path))
      case 'link':
        return outcome(fs.link(o.path, o.to))
      case 'rename':
        return outcome(fs.rename(o.path, o.to, o.flags))
      case 'chmod':
        return outcome(fs.chmod(o.path, o.value))
      case 'chown':
        return outcome(fs.chown(o.path, o.uid, o.gid))
      case 'utimens':
        return outcome(fs.utimens(o.path, o.value, 1, o.value, 2))
      case 'truncate': {
        const st = new Stat()
        const r = fs.truncate(o.path, o.value)
        if (r === 0 && fs.stat(o.path, st) === 0) this.#writing(st.ino)
        return outcome(r)
      }
      case 'setxattr':
        return outcome(fs.setxattr(o.path, o.name, Buffer.from(o.value), o.flags))
      case 'removexattr':
        return outcome(fs.removexattr(o.path, o.name))
      case 'close':
      case 'fstat':
      case 'fsync':
      case 'read':
      case 'write':
      case 'ftruncate':
      case 'fchmod':
      case 'fallocate':
      case 'linkFd':
        return this.#onHandle(o)
    }
  }

  #onHandle(o: Exclude<Extract<Operation, { handle: number }>, { op: 'open' | 'tmpfile' }>): string {
    const fs = this.#fs
    const fd = this.#handles.get(o.handle)
    if (fd === undefined) return 'not open'
    switch (o.op) {
      case 'close':
        this.#forget(o.handle)
        fs.close(fd)
        return 'OK'
      case 'fsync':
        return outcome(fs.fsync(fd))
      case 'fstat': {
        const st = new Stat()
        const r = fs.fstat(fd, st)
        const size = this.#behind.has(o.handle) ? 'left behind' : `${st.size}b`
        const links = (st.mode & S.IFMT) === S.IFDIR ? '' : ` n${st.nlink} ${size}`
        return `${outcome(r)} ${st.mode.toString(8)} ${st.uid}:${st.gid}${links}`
      }
      case 'write': {
        const n = fs.pwrite(fd, Buffer.alloc(o.size, o.fill), o.at)
        return n < 0 ? outcome(n) : String(n)
      }
      case 'read': {
        const data = fs.pread(fd, o.size, o.at)
        if (this.#behind.has(o.handle)) return 'left behind'
        return typeof data === 'number' ? outcome(data) : `${data.length} ${data.toString('latin1')}`
      }
      case 'ftruncate':
        return outcome(fs.ftruncate(fd, o.value))
      case 'fchmod':
        return outcome(fs.fchmod(fd, o.value))
      case 'fallocate':
        return outcome(fs.fallocate(fd, o.mode, o.at, o.size))
      case 'linkFd':
        return outcome(fs.linkFd(fd, o.path))
    }
  }

  #list(path: string): string {
    const dir = this.#fs.opendir(path)
    if (dir < 0) return outcome(dir)
    const found: string[] = []
    for (let offset = 0n; ;) {
      const some = this.#fs.readdir(dir, offset, 4096)
      if (typeof some === 'number' || some.length === 0) break
      for (const entry of some) found.push(`${entry.name}:${entry.type}`)
      offset = some.at(-1)?.offset ?? 0n
    }
    this.#fs.closedir(dir)
    return found.sort().join(' ')
  }
}
