/**
 * Owns capabilities(7): names, Docker's default set, and the arithmetic of --cap-add and --cap-drop.
 * Format: a set is a bigint with bit N for capability N; names are `CAP_CHOWN`, read with or without the prefix, in any case.
 */
import { RuntimeError } from './error.js'

const names = (
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE ' +
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN ' +
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE ' +
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE'
)
  .split(' ')
  .map(name => `CAP_${name}`)

/** Every capability this table knows, in kernel order. */
export const allCapabilities: readonly string[] = names

/** What a container gets when nothing is said (Docker's documented default list). */
export const defaultCapabilities: readonly string[] = (
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL ' +
  'AUDIT_WRITE'
)
  .split(' ')
  .map(name => `CAP_${name}`)

/** `net_admin` → `CAP_NET_ADMIN`. Throws INVALID for what is none. */
export function capabilityName(text: string): string {
  const upper = text.toUpperCase()
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  if (!names.includes(name)) throw new RuntimeError('INVALID', `capability ${text}: there is none of that name`)
  return name
}

/** The names as a bit set. */
export function capabilityBits(list: readonly string[]): bigint {
  return list.reduce((bits, name) => bits | (1n << BigInt(names.indexOf(capabilityName(name)))), 0n)
}

/** Docker's rule: ALL in add means all but the dropped; ALL in drop means only the added; else default + add - drop. */
export function chooseCapabilities(add: readonly string[] = [], drop: readonly string[] = []): string[] {
  const isAll = (s: string): boolean => s.toUpperCase() === 'ALL'
  const added = add.filter(s => !isAll(s)).map(capabilityName)
  const dropped = drop.filter(s => !isAll(s)).map(capabilityName)
  const base = add.some(isAll) ? names : drop.some(isAll) ? [] : defaultCapabilities
  const chosen = new Set([...base.filter(name => !dropped.includes(name)), ...added])
  return names.filter(name => chosen.has(name))
}
