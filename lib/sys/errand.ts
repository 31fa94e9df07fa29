/**
 * Owns errands: a child that makes a few calls of its own (in a namespace that this process cannot step into and out of) and
 * ends. What it opens is this process's too where they share their descriptors (CLONE_FILES).
 */
import type { Birth, CloneOptions } from './birth.js'
import { close } from './file.js'
import { waitPidfd } from './process.js'

/** Runs the table of `birth` to its end, and waits for that. Undefined, or what failed; `birth.result` has the rest. */
export function runErrand(birth: Birth, options: CloneOptions): { what: string; errno: number } | undefined {
  const { pid, pidfd } = birth.run({ ...options, wait: true })
  if (pid < 0) return { what: 'clone3', errno: -pid }
  waitPidfd(pidfd, 0)
  close(pidfd)
  return birth.stopped()
}
