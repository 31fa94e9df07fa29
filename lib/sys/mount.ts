/**
 * Owns mount calls, old (mount(2)) and new (open_tree, fsopen, move_mount, mount_setattr; Linux 5.2-5.12, raw numbers).
 * Paths are byte strings, results `>= 0` or `-errno`.
 */
import { OPEN_TREE } from './constants.js'
import { readAt } from './file.js'
import { NR, addressOf, alloc, cpath, cpath2, libc, ret, scratch, syscall6, syscallInThread } from './libc.js'

const c = {
  mount: libc.func('int mount(const char *source, uintptr_t target, const char *type, ulong flags, const char *data)'),
  umount2: libc.func('int umount2(uintptr_t target, int flags)'),
  unshare: libc.func('int unshare(int flags)'),
  setns: libc.func('int setns(int fd, int type)'),
}

/** mount(2). `data` is the filesystem's option string. */
export function mount(
  source: string | null,
  target: string,
  type: string | null,
  flags: number,
  data: string | null,
): number {
  return ret(c.mount(source, cpath(target), type, flags, data) as number)
}

/** umount2(2) with MNT flags. */
export function umount(target: string, flags = 0): number {
  return ret(c.umount2(cpath(target), flags) as number)
}

/** open_tree(2). With OPEN_TREE.CLONE: a detached private clone of the mount at `path`; it goes when the fd is closed. */
export function openTree(dirfd: number, path: string, flags: number): number {
  return ret(syscall6(NR.open_tree, dirfd, cpath(path), flags | OPEN_TREE.CLOEXEC, 0, 0, 0))
}

/** move_mount(2): puts the mount of `from` at `path2` below `to`. */
export function moveMount(from: number, path: string, to: number, path2: string, flags: number): number {
  return ret(syscall6(NR.move_mount, from, cpath(path), to, cpath2(path2), flags, 0))
}

const attr = scratch(32)
const attrAddress = addressOf(attr)

/** mount_setattr(2): sets and clears MOUNT_ATTR bits, and propagation (MS.PRIVATE …, 0 = as it is). */
export function mountSetattr(
  dirfd: number,
  path: string,
  flags: number,
  set: number,
  clear: number,
  propagation = 0,
  usernsFd = 0,
): number {
  attr.fill(0)
  attr.writeUInt32LE(set >>> 0, 0)
  attr.writeUInt32LE(clear >>> 0, 8)
  attr.writeUInt32LE(propagation >>> 0, 16)
  attr.writeUInt32LE(usernsFd, 24)
  return ret(syscall6(NR.mount_setattr, dirfd, cpath(path), flags, attrAddress, 32, 0))
}

/** fsopen(2): a context for making a mount of filesystem `type`. */
export function fsopen(type: string): number {
  return ret(syscall6(NR.fsopen, cpath(type), 1, 0, 0, 0, 0))
}

export const FSCONFIG = { SET_FLAG: 0, SET_STRING: 1, SET_FD: 5, CMD_CREATE: 6, CMD_RECONFIGURE: 7 } as const

/** fsconfig(2) with a string value. */
export function fsconfigString(fd: number, key: string, value: string): number {
  return ret(syscall6(NR.fsconfig, fd, FSCONFIG.SET_STRING, cpath(key), cpath2(value), 0, 0))
}

/** fsconfig(2) of a flag, or of a command (`key` null). */
export function fsconfig(fd: number, command: number, key: string | null, aux = 0): number {
  return ret(syscall6(NR.fsconfig, fd, command, key === null ? 0 : cpath(key), 0, aux, 0))
}

/**
 * fsconfig(2) on a thread of the pool, for what this process may itself have to serve: a string (`key` and `value`) or a command
 * (both null).
 */
export function fsconfigInThread(
  fd: number,
  command: number,
  key: string | null,
  value: string | null,
): Promise<number> {
  const [k, v] = [Buffer.from(`${key ?? ''}\0`, 'latin1'), Buffer.from(`${value ?? ''}\0`, 'latin1')]
  const memory = alloc(k.length + v.length)
  memory.set(k, 0)
  memory.set(v, k.length)
  const address = addressOf(memory)
  const call = syscallInThread(
    NR.fsconfig,
    fd,
    command,
    key === null ? 0 : address,
    value === null ? 0 : address + k.length,
  )
  // The memory is the thread's until then.
  return call.finally(() => memory.fill(0))
}

const REASON = 4096

/** The errors that a context of fsopen has noted, last first (the lines of read(2) that begin with `e `). */
export function fsErrors(fd: number): string[] {
  const found: string[] = []
  const line = alloc(REASON)
  for (;;) {
    const n = readAt(fd, addressOf(line), REASON)
    if (n <= 0) return found
    const text = line.latin1Slice(0, n).trim()
    if (text.startsWith('e ')) found.unshift(text.slice(2))
  }
}

/** fsmount(2): the detached mount of a finished context, with MOUNT_ATTR bits. */
export function fsmount(fd: number, attributes: number): number {
  return ret(syscall6(NR.fsmount, fd, 1, attributes, 0, 0, 0))
}

/** unshare(2) of the calling thread. */
export function unshare(flags: number): number {
  return ret(c.unshare(flags) as number)
}

export function setns(fd: number, type: number): number {
  return ret(c.setns(fd, type) as number)
}
