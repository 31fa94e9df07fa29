/**
 * Owns the identity by which the kernel judges this *thread's* file accesses: fsuid, fsgid, supplementary groups.
 * They belong to the calling thread alone (credentials(7)); libc's setgroups would tell all threads, so it is not used.
 * Beside it the securebits, the thread's own too, and the umask, which all threads of a filesystem context share.
 */
import { addressOf, libc, ret, scratch, syscall6 } from './libc.js'

const c = {
  setfsuid: libc.func('int setfsuid(uint uid)'),
  setfsgid: libc.func('int setfsgid(uint gid)'),
  umask: libc.func('uint umask(uint mask)'),
  prctl: libc.func('int prctl(int option, ulong a, ulong b, ulong c, ulong d)'),
}
const SETGROUPS = process.arch === 'arm64' ? 159 : 116

const groupBuffer = scratch(4 * 64)
const groupAddress = addressOf(groupBuffer)

/**
 * Makes this thread's file accesses those of `uid`, `gid` and `groups` (at most 64) until called again. Needs
 * CAP_SETUID and CAP_SETGID, which stay; a nonzero `uid` drops the filesystem capabilities (CAP_CHOWN, DAC_OVERRIDE,
 * FOWNER, FSETID, MKNOD …), uid 0 brings them back. Returns 0 or `-errno`.
 */
export function setFsIdentity(uid: number, gid: number, groups: readonly number[]): number {
  groups.slice(0, 64).forEach((g, i) => groupBuffer.writeUInt32LE(g, i * 4))
  const r = ret(syscall6(SETGROUPS, Math.min(groups.length, 64), groupAddress, 0, 0, 0, 0))
  if (r < 0) return r
  c.setfsgid(gid)
  c.setfsuid(uid)
  return 0
}

const PR_GET_SECUREBITS = 27
const PR_SET_SECUREBITS = 28
/** Changing uids leaves the capability sets as they are (capabilities(7)). */
export const SECBIT_NO_SETUID_FIXUP = 4

/** setfsuid(2). Returns the previous id; there is no error (an id that is refused leaves the old one). */
export function setfsuid(uid: number): number {
  return c.setfsuid(uid) as number
}

/** setfsgid(2), as setfsuid. */
export function setfsgid(gid: number): number {
  return c.setfsgid(gid) as number
}

/** umask(2): sets it, returns the one before. */
export function umask(mask: number): number {
  return c.umask(mask) as number
}

/** The calling thread's securebits (SECBIT_…). */
export function securebits(): number {
  return ret(c.prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) as number)
}

/** Sets the calling thread's securebits; EPERM without CAP_SETPCAP. */
export function setSecurebits(bits: number): number {
  return ret(c.prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) as number)
}
