/** Owns what this process may do about mounts: its capabilities, and which user namespace it is in. */
import { readFileSync } from 'node:fs'

const CAP_SYS_ADMIN = 21n

/** Whether the process may mount: CAP_SYS_ADMIN in its own user namespace. */
export function mayMount(): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))
  return line !== null && ((BigInt(`0x${line[1]}`) >> CAP_SYS_ADMIN) & 1n) === 1n
}

/** Whether it is in the initial user namespace, as far as the id map tells (user_namespaces(7)). */
export function inInitialUserNamespace(): boolean {
  return readFileSync('/proc/self/uid_map', 'latin1').trim().split(/\s+/).join(' ') === '0 0 4294967295'
}
