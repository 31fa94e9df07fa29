/**
 * Owns the portable transport: libfuse 2.9's path-based operations, by the package `fuse-native`, onto `Filesystem`.
 * For a mount that one user makes and uses. What it cannot do, by libfuse's interface or the binding's:
 * - it does not tell who asks: every request counts as the user who mounted, and others are kept out (no allow_other);
 * - no passthrough, readdirplus, rename flags, O_TMPFILE, fallocate, SEEK_HOLE; no inode numbers above 32 bits;
 * - times are kept to the millisecond, and not before 1970; names must be UTF-8 (others are not listed);
 * - one request at a time: a large copy-up makes the others wait.
 * Faults of the binding that are mended here: mtime is taken from atime (`setTimes`), a value larger than the
 * caller's buffer is read past the buffer's end (`fits`), fgetattr ignores its handle.
 * Formats: paths are text from `/`; fuse-native-paths.ts finds their inodes, fuse-native-format.ts has the binding's structs.
 * Invariant: each operation replies exactly once, and whatever is thrown becomes EIO at one boundary (`reply`).
 */
import type Fuse from 'fuse-native'
import type { Operations, Signal } from 'fuse-native'
import { bytesOf, textOf } from '../bytes.js'
import { E } from '../errno.js'
import { addressOf } from '../sys/libc.js'
import { StatFs } from '../sys/stat.js'
import { ROOT, SetAttrValid, type Filesystem, type SetAttr } from '../union/filesystem.js'
import { statArray, statfsObject } from './fuse-native-format.js'
import { Paths } from './fuse-native-paths.js'

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
