/** A scratch place for mount tests: directories, a run root of its own, mounts that are ended whatever happens. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { bytesOf } from '../../lib/bytes.js'
import { unmount } from '../../lib/fuse/mount.js'
import { readCounters, type Stats } from '../../lib/mount/counters.js'
import { launchServer } from '../../lib/mount/launch.js'
import { isAlive, records, type MountRecord } from '../../lib/mount/registry.js'
import type { MountSpec } from '../../lib/mount/spec.js'

export { cannotMount } from '../fuse/mounted.js'

export interface Workspace {
  readonly base: string
  readonly lower: string
  readonly upper: string
  readonly work: string
  readonly point: string
  readonly runRoot: string
  /** lower, upper, work of this place. */
  readonly spec: MountSpec
  /** Mounts (by default `spec` on `point`), served by a process of its own. */
  mount(spec?: MountSpec, point?: string): Promise<MountRecord>
  /** Runs a shell script with $L $U $M the lower, the upper, the mountpoint; its output. Throws when it fails. */
  sh(script: string, options?: RunOptions): string
  /** Runs a Python program; its output. Throws when it fails. */
  python(program: string, options?: RunOptions): string
}

/** As whom a program runs, and for how many ms at most (by default enough for all but long ones). */
export interface RunOptions {
  readonly uid?: number
  readonly gid?: number
  readonly timeout?: number
}

export function workspace(t: Test): Workspace {
  const base = mkdtempSync(join(tmpdir(), 'lamina-mount-'))
  chmodSync(base, 0o755)
  const path = (name: string): string => join(base, name)
  for (const name of ['lower', 'upper', 'work', 'mount', 'run']) mkdirSync(path(name))
  const runRoot = path('run')
  const lower = path('lower')
  const upper = path('upper')
  const work = path('work')
  const point = path('mount')
  const spec: MountSpec = { lowers: [{ kind: 'directory', path: lower }], upper, work }
  const points = new Set<string>()
  t.teardown(async () => {
    const servers = records(runRoot)
    for (const each of points) unmount(bytesOf(each), true)
    for (const server of servers) await ended(server)
    rmSync(base, { recursive: true, force: true })
  })
  const run = (file: string, args: string[], options: RunOptions = {}): string => {
    const env = { ...process.env, L: lower, U: upper, M: point }
    const r = spawnSync(file, args, { timeout: 200_000, ...options, env, cwd: '/', encoding: 'utf8' })
    if (r.status !== 0) throw new Error(`exit ${r.status ?? r.signal}: ${r.stderr}`)
    return r.stdout
  }
  return {
    base,
    lower,
    upper,
    work,
    point,
    runRoot,
    spec,
    async mount(which = spec, where = point) {
      points.add(where)
      return launchServer({ spec: which, mountpoint: where, runRoot })
    },
    sh: (script, how) => run('/bin/sh', ['-ec', script], how),
    python: (program, how) => run('python3', ['-c', program], how),
  }
}

/** Waits until the server's process is gone. */
export async function ended(record: MountRecord): Promise<void> {
  for (let i = 0; i < 24_000 && isAlive(record); i++) await new Promise(resolve => setTimeout(resolve, 5))
  if (isAlive(record)) throw new Error(`server ${record.pid} still runs`)
}

/** The requests that ask for names and attributes. */
export function asked(record: MountRecord): Stats {
  const { LOOKUP, GETATTR, READDIR, READDIRPLUS, OPENDIR, READLINK, GETXATTR } = readCounters(record.stats)
  return { LOOKUP, GETATTR, READDIR, READDIRPLUS, OPENDIR, READLINK, GETXATTR } as Stats
}
