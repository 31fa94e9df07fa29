/**
 * Owns how Lamina's own long-lived processes are started: servers of mounts, supervisors of containers. They allocate little
 * and live long: a small young generation saves memory. It has its whole size at once: growing
 * to it took two collections more in the start of a mount, of 3 ms each. And it is collected when it is full, not before: V8 would
 * do so at the first turn of the event loop, for 7 ms of a start.
 */

import { setV8Flags } from './v8-flags.js'

/** Node's options. One for all: V8 keeps compiled code for one set of flags apart from that for another (bin/loader.cjs). */
export const residentFlags: readonly string[] = [
  '--min-semi-space-size=2',
  '--max-semi-space-size=2',
  '--no-minor-gc-task',
  '--no-warnings',
]

/**
 * Has V8's optimizing compiler come later (at three times its usual budget) and inline less. A server waits for system calls more
 * than it computes, and the compiler ran as long as the server itself in a first walk, on the processor that the walking process
 * needed. Not an option of the start: later versions of V8 have other names, and Node refuses to start with one it does not know.
 */
export function optimizeLater(): void {
  if (!process.versions.v8.startsWith('11.')) return
  setV8Flags('--interrupt-budget=200000', '--max-inlined-bytecode-size-cumulative=150')
}

/** Of this process, less what is not meant for others: Node reads all of NODE_EXTRA_CA_CERTS at its start, for 40 ms. */
export function residentEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env, NODE_OPTIONS: '' }
  delete (env as NodeJS.ProcessEnv)['NODE_EXTRA_CA_CERTS']
  return env
}
