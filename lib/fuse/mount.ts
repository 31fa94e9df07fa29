/**
 * Owns making and ending FUSE mounts: by mount(2) or fsmount(2) where the process may (root, or root of a user
 * namespace), else by the setuid helper fusermount3, whose fd arrives over a socket.
 * Formats: the option string of fs/fuse (`fd=,rootmode=,user_id=,group_id=,default_permissions,allow_other`).
 * Invariant: a mount that cannot be handed to a session does not stay. The fds returned are non-blocking.
 */
import type { SpawnSyncOptions, SpawnSyncReturns } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { textOf } from '../bytes.js'
import { E, FsError, check } from '../errno.js'
import { AT, MNT, MS, O, S, UMOUNT_NOFOLLOW } from '../sys/constants.js'
import { close, open, openat, setNonblocking } from '../sys/file.js'
import { fsconfig, FSCONFIG, fsconfigString, fsmount, fsopen, mount, umount } from '../sys/mount.js'
import { receiveFd, socketpair } from '../sys/socket.js'
import { Stat, statat } from '../sys/stat.js'
import { devOf } from '../sys/constants.js'

export interface MountOptions {
  /** What /proc/mounts shows as the source. */
  readonly source: string
  readonly readOnly: boolean
  /** Other users than the mounting one may use it. */
  readonly allowOther: boolean
  /** MS.NOSUID, MS.NODEV, … */
  readonly flags?: number
}

const SUBTYPE = 'lamina'

function openDevice(): number {
  return check(open('/dev/fuse', O.RDWR | O.NONBLOCK), 'open', '/dev/fuse')
}

/** Runs fusermount3. node:child_process costs a server's start 10 ms, and most never need it: loaded when it is. */
function runHelper(args: readonly string[], options: SpawnSyncOptions): SpawnSyncReturns<Buffer> {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  return spawnSync('fusermount3', args, { ...options, encoding: 'buffer' })
}

/** Mounts on the directory `mountpoint` (a byte string) by mount(2). Returns the fd to serve. Throws FsError. */
export function mountAt(mountpoint: string, options: MountOptions): number {
  const fd = openDevice()
  const data =
    `fd=${fd},rootmode=${S.IFDIR.toString(8)},user_id=${process.getuid?.() ?? 0},group_id=${process.getgid?.() ?? 0}` +
    `,default_permissions${options.allowOther ? ',allow_other' : ''}`
  const flags = (options.flags ?? 0) | (options.readOnly ? MS.RDONLY : 0)
  const r = mount(options.source, mountpoint, `fuse.${SUBTYPE}`, flags, data)
  if (r < 0) {
    close(fd)
    throw new FsError(r, 'mount', textOf(mountpoint))
  }
  return fd
}

export interface Detached {
  /** The fd to serve. */
  readonly fd: number
  /** The mount, nowhere in the tree yet: for move_mount, openat, fchdir. It goes when this fd is closed. */
  readonly mountFd: number
}

/** Makes a mount that is in no tree, by fsopen and fsmount (Linux 5.2). `attributes` are MOUNT_ATTR bits. Throws FsError. */
export function mountDetached(options: MountOptions, attributes = 0): Detached {
  const fd = openDevice()
  const context = fsopen('fuse')
  try {
    check(context, 'fsopen', 'fuse')
    const set = (key: string, value: string): number =>
      check(fsconfigString(context, key, value), 'fsconfig', `${key}=${value}`)
    set('source', options.source)
    set('subtype', SUBTYPE)
    set('fd', String(fd))
    set('rootmode', S.IFDIR.toString(8))
    set('user_id', String(process.getuid?.() ?? 0))
    set('group_id', String(process.getgid?.() ?? 0))
    for (const flag of ['default_permissions', ...(options.allowOther ? ['allow_other'] : [])])
      check(fsconfig(context, FSCONFIG.SET_FLAG, flag), 'fsconfig', flag)
    if (options.readOnly) check(fsconfig(context, FSCONFIG.SET_FLAG, 'ro'), 'fsconfig', 'ro')
    check(fsconfig(context, FSCONFIG.CMD_CREATE, null), 'fsconfig', 'create')
    return { fd, mountFd: check(fsmount(context, attributes), 'fsmount') }
  } catch (error) {
    close(fd)
    throw error
  } finally {
    if (context >= 0) close(context)
  }
}

/**
 * Mounts as an ordinary user through fusermount3 (single-user: no devices, no set-id programs, `allow_other` only where
 * /etc/fuse.conf says so). Returns the fd to serve. Throws FsError ENOENT without the helper, EPERM with its message.
 */
export function mountByHelper(mountpoint: string, options: MountOptions): number {
  const pair = socketpair()
  if (typeof pair === 'number') throw new FsError(pair, 'socketpair')
  const [ours, theirs] = pair
  const flags = [
    `fsname=${options.source}`,
    `subtype=${SUBTYPE}`,
    'default_permissions',
    ...(options.readOnly ? ['ro'] : []),
    ...(options.allowOther ? ['allow_other'] : []),
  ]
  try {
    const helper = runHelper(['-o', flags.join(','), '--', textOf(mountpoint)], {
      stdio: ['ignore', 'ignore', 'pipe', theirs],
      env: { ...process.env, _FUSE_COMMFD: '3' },
    })
    if (helper.error !== undefined) throw new FsError(E.ENOENT, 'fusermount3')
    if (helper.status !== 0) {
      const said = helper.stderr
        .toString()
        .trim()
        .replace(/^fusermount3: /, '')
      throw new HelperError(said === '' ? `exit ${helper.status}` : said, textOf(mountpoint))
    }
    const fd = check(receiveFd(ours), 'recvmsg', 'fusermount3')
    setNonblocking(fd)
    return fd
  } finally {
    close(ours)
    close(theirs)
  }
}

/** fusermount3 refused. `reason` is its own message. */
export class HelperError extends FsError {
  readonly reason: string
  constructor(reason: string, mountpoint: string) {
    super(E.EPERM, 'fusermount3', mountpoint)
    this.reason = reason
  }
}

/** Unmounts `mountpoint`; `lazy`: now, even if in use (open files are still served). Falls back to fusermount3. 0 or `-errno`. */
export function unmount(mountpoint: string, lazy = false, force = false): number {
  const r = umount(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT.DETACH : 0) | (force ? MNT.FORCE : 0))
  if (r !== -E.EPERM) return r
  const helper = runHelper(['-u', ...(lazy ? ['-z'] : []), '--', textOf(mountpoint)], {
    stdio: 'ignore',
  })
  return helper.status === 0 ? 0 : r
}

const AT_STATX_DONT_SYNC = 0x4000

/**
 * The device number (minor of 0:N) of the mount at `path` below `dirfd`, or with an empty path of the one whose fd that is,
 * without asking its server; or `-errno`.
 */
export function mountDevice(dirfd: number, path: string): number {
  const fd = path === '' ? dirfd : openat(dirfd, path, O.PATH)
  if (fd < 0) return fd
  const st = new Stat()
  const r = statat(fd, '', st, AT.EMPTY_PATH | AT_STATX_DONT_SYNC)
  if (path !== '') close(fd)
  return r < 0 ? r : devOf(st.dev).minor
}

/**
 * Raises the read-ahead of a FUSE mount to 1 MiB, which INIT can only lower. Wants root and a writable /sys; false
 * where that is not so, which costs speed of first reads and nothing else. Call it when the session has answered INIT.
 */
export function raiseReadAhead(device: number): boolean {
  const file = `/sys/class/bdi/0:${device}/read_ahead_kb`
  try {
    if (Number(readFileSync(file, 'latin1')) < 1024) writeFileSync(file, '1024')
    return true
  } catch {
    return false
  }
}
