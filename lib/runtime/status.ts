/** Owns what a container is doing, in Docker's words: `running`, `paused`, `exited`, and the line that `ps` shows. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cgroup } from './cgroup/cgroup.js'
import type { Container } from './containers.js'

export type LiveStatus = 'created' | 'running' | 'paused' | 'restarting' | 'exited'

/** The kernel is asked whether it is paused: nobody's file can be out of date. */
export function liveStatus({ state }: Container): LiveStatus {
  if (state.status !== 'running') return state.status
  if (state.pid === 0) return state.startedAt === '' || state.finishedAt === '' ? 'created' : 'restarting'
  return isFrozen(state.cgroup) ? 'paused' : 'running'
}

function isFrozen(path: string): boolean {
  const cgroup = Cgroup.at(path)
  const read = (directory: string | undefined, file: string): string => {
    if (directory === undefined) return ''
    try {
      return readFileSync(join(directory, file), 'latin1')
    } catch {
      return ''
    }
  }
  return (
    read(cgroup.v2, 'cgroup.events').includes('frozen 1') ||
    read(cgroup.of('freezer'), 'freezer.state').startsWith('FROZEN')
  )
}
