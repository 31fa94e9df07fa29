/**
 * Owns telling a signal that ends a process from one that it handles (signal(7), the masks of /proc/PID/status): a caller
 * that waits is let go for the first kind only. Invariant: a process that is gone counts as killed.
 */
import { readFileSync } from 'node:fs'

/** What stops a process, or does nothing, unless it is handled: CHLD CONT STOP TSTP TTIN TTOU URG WINCH. */
const HARMLESS = [17, 18, 19, 20, 21, 22, 23, 28].reduce((mask, n) => mask | bit(n), 0n)

function bit(signal: number): bigint {
  return 1n << BigInt(signal - 1)
}

/** Whether a signal is pending for the thread `pid`, or for its process, that will end it. */
export function isBeingKilled(pid: number): boolean {
  try {
    return diesOf(readFileSync(`/proc/${pid}/status`, 'latin1'))
  } catch {
    return true // it is gone
  }
}

/** `isBeingKilled` by the text of /proc/PID/status. SIGKILL is what most deadly signals become; one that dumps core stays. */
export function diesOf(status: string): boolean {
  const mask = (name: string): bigint =>
    BigInt(`0x${new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1] ?? '0'}`)
  const pending = mask('SigPnd') | mask('ShdPnd')
  return (pending & ~(mask('SigBlk') | mask('SigIgn') | mask('SigCgt') | HARMLESS)) !== 0n
}
