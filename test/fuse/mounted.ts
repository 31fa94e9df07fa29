/** Mounts the mirror filesystem for a test, served by a thread of this process; commands on it run in other processes. */
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Test } from 'tap'
import { mountAt, unmount } from '../../lib/fuse/mount.js'
import type { Agreed, Wishes } from '../../lib/fuse/negotiate.js'
import { Op, type OpName } from '../../lib/fuse/protocol.js'
import { COUNTERS, Counter } from '../../lib/fuse/session.js'
import { createWake, ring } from '../../lib/fuse/wake.js'
import { OpenMode } from '../../lib/union/filesystem.js'
import type { ServeMirror } from './serve-mirror.js'

/** Why mounting is not possible here, or false. */
export const cannotMount: string | false =
  process.getuid?.() !== 0 ? 'needs root' : existsSync('/dev/fuse') ? false : 'needs /dev/fuse'

export interface State {
  outcome: 'woken' | 'ended'
  lines: string[]
  agreed: Agreed
  passthrough: boolean
  lookups: number[]
}

export interface Mounted {
  readonly source: string
  readonly point: string
  /** Requests seen so far of that opcode. */
  readonly count: (op: OpName | keyof typeof Counter) => number
  /** Runs a shell script with $M the mountpoint and $S the source directory; its output. Throws when it fails. */
  sh(script: string, options?: { uid?: number; gid?: number }): string
  state(): Promise<State>
  unmount(): Promise<State>
}

export interface MountedOptions {
  mode?: OpenMode
  timeout?: number
  volatile?: boolean
  wishes?: Partial<Wishes>
  gate?: Int32Array
  linux54?: boolean
}

export function mounted(t: Test, options: MountedOptions = {}): Mounted {
  const base = mkdtempSync(join(tmpdir(), 'lamina-fuse-'))
  chmodSync(base, 0o755)
  const source = join(base, 'source')
  const point = join(base, 'mount')
  for (const path of [source, point, join(source, 'slow')]) mkdirSync(path)
  const fd = mountAt(point, { source: 'lamina-test', readOnly: false, allowOther: true })
  const counters = new Float64Array(new SharedArrayBuffer(COUNTERS * 8))
  const wake = createWake()
  const gate = options.gate === undefined ? {} : { gate: options.gate }
  const workerData: ServeMirror = {
    fd,
    wishes: { passthrough: true, writeback: false, acl: true, noOpen: false, stackDepth: 1, ...options.wishes },
    volatile: options.volatile ?? false,
    linux54: options.linux54 === true,
    counters,
    wake,
    mirror: { root: source, mode: options.mode ?? OpenMode.Passthrough, timeout: options.timeout ?? 3600, ...gate },
  }
  const worker = new Worker(new URL('./serve-mirror.js', import.meta.url), { workerData })
  const exited = new Promise(resolve => worker.once('exit', resolve))
  let ended: State | undefined
  worker.on('message', (state: State) => {
    if (state.outcome === 'ended') ended = state
  })
  t.teardown(async () => {
    unmount(point, true)
    await exited
    rmSync(base, { recursive: true })
  })
  return {
    source,
    point,
    count: op => (op in Op ? counters[Op[op as OpName]] : counters[Counter[op as keyof typeof Counter]]) ?? 0,
    sh(script, ids = {}) {
      const env = { ...process.env, M: point, S: source }
      const run = spawnSync('/bin/sh', ['-ec', script], { ...ids, env, cwd: '/', encoding: 'utf8', timeout: 120_000 })
      if (run.status !== 0) throw new Error(`exit ${run.status ?? run.signal}: ${run.stderr}`)
      return run.stdout
    },
    async state() {
      const answer = new Promise<State>(resolve => worker.once('message', resolve))
      worker.postMessage('state')
      ring(wake)
      return answer
    },
    async unmount() {
      unmount(point)
      await exited
      return ended as State
    },
  }
}
