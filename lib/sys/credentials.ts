/**
 * Owns the identity by which the kernel judges this *thread's* file accesses: fsuid, fsgid, supplementary groups.
 * They belong to the calling thread alone (credentials(7)); libc's setgroups would tell all threads, so it is not used.
 */
import { addressOf, alloc, libc, ret, syscall6 } from './libc.js'

const c = {
  setfsuid: libc.func('int setfsuid(uint uid)'),
  setfsgid: libc.func('int setfsgid(uint gid)'),
}
const SETGROUPS = process.arch === 'arm64' ? 159 : 116

const groupBuffer = alloc(4 * 64)
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
