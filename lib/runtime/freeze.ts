/**
 * Owns pausing a container and letting it go on.
 * Invariant: who stands still for a piece of work only (`whileFrozen`) goes on after it, even when this process is killed.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { Cgroup } from './cgroup/cgroup.js'
import type { Container, Containers } from './containers.js'
import { RuntimeError } from './error.js'
import { emit } from './events.js'
import { liveStatus } from './status.js'

/** Throws WRONG_STATE unless it is running (to pause) or paused (to go on). */
export async function freezeContainer(containers: Containers, container: Container, frozen: boolean): Promise<void> {
  const verb = frozen ? 'pause' : 'unpause'
  const status = liveStatus(container)
  if (status !== (frozen ? 'running' : 'paused'))
    throw new RuntimeError('WRONG_STATE', `${verb} ${container.config.name}: it is ${status}`)
  await Cgroup.at(container.state.cgroup).freeze(frozen)
  emit(containers.root, container, verb)
}

/**
 * Runs `work` while the container's processes stand still. One that does not run, or is paused already, is left as it is, and
 * so is one that cannot be frozen (an ordinary user without a cgroup). Throws what `work` throws.
 */
export async function whileFrozen<T>(
  containers: Containers,
  container: Container,
  work: () => T | Promise<T>,
): Promise<T> {
  if (liveStatus(container) !== 'running') return work()
  const cgroup = Cgroup.at(container.state.cgroup)
  let thaw: () => Promise<void>
  try {
    thaw = await thawer(cgroup)
  } catch (error) {
    if (error instanceof RuntimeError && error.code === 'UNSUPPORTED') return work()
    throw error
  }
  emit(containers.root, container, 'pause')
  try {
    await cgroup.freeze(true)
    return await work()
  } finally {
    await thaw()
    emit(containers.root, container, 'unpause')
  }
}

/**
 * A process that lets the container go on when asked to, and when this one ends, however that comes about: it waits for
 * the end of a pipe. It has a session of its own, so that a signal from the terminal ends this process only.
 */
async function thawer(cgroup: Cgroup): Promise<() => Promise<void>> {
  const { file, go } = cgroup.freezer()
  const script = 'read -r _; echo "$2" > "$1"'
  const child = spawn('/bin/sh', ['-c', script, 'lamina-thaw', file, go], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  await once(child, 'spawn')
  const ended = once(child, 'close')
  return async () => {
    child.stdin.end()
    await ended
    // Somebody may have killed the container meanwhile: its cgroup is gone then.
    if (existsSync(file)) await cgroup.freeze(false)
  }
}
