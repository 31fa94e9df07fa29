/**
 * Owns how Lamina's own long-lived processes are started: servers of mounts, supervisors of containers. They allocate little
 * and live long: a small young generation saves memory.
 */

/**
 * Node's options. One for all: V8 keeps compiled code for one set of flags apart from that for another (bin/loader.cjs).
 * A server waits for system calls more than it computes, and V8's optimizing compiler ran as long as the server itself in a
 * first walk, on the processor that the walking process needed: it comes later (three times its usual budget) and inlines
 * less, which costs nothing that can be measured afterwards.
 */
export const residentFlags: readonly string[] = [
  '--max-semi-space-size=2',
  '--interrupt-budget=200000',
  '--max-inlined-bytecode-size-cumulative=150',
  '--no-warnings',
]

/** Of this process, less what is not meant for others: Node reads all of NODE_EXTRA_CA_CERTS at its start, for 40 ms. */
export function residentEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env, NODE_OPTIONS: '' }
  delete (env as NodeJS.ProcessEnv)['NODE_EXTRA_CA_CERTS']
  return env
}
