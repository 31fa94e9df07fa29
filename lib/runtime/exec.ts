/**
 * Owns running another process in a running container (`exec`, health checks): same namespaces, root and cgroup, with
 * identity, environment and directory of its own. Invariant: the entered process never shares more with the container
 * than its namespaces; while it still shares this process's memory it cannot be traced (launch.ts, `enter`).
 */
import { closeSync, openSync } from 'node:fs'
import { CLONE, O, S } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { exitOf, pidfdOpen, pidfdSignal, prctl, PR, type Exit } from '../sys/process.js'
import { fstat, fstatfs, Stat, StatFs } from '../sys/stat.js'
import { Cgroup } from './cgroup/cgroup.js'
import { isAlive, startOf, type Container } from './containers.js'
import { drained } from './drain.js'
import { RuntimeError } from './error.js'
import { enter, type Launched } from './launch.js'
import type { OciRuntime } from './oci-runtime.js'
import type { OciProcess } from './oci.js'
import { runtimeOf } from './runtime-of.js'
import { identityIn } from './resolve.js'
import { capabilitiesFor, environment, rlimitsOf, seccompOf } from './spec.js'
import { liveStatus } from './status.js'
import { openPipes, openTerminal, type Stdio } from './streams.js'

export interface ExecOptions {
  args: readonly string[]
  env?: readonly string[]
  user?: string | undefined
  workdir?: string | undefined
  tty?: boolean
  interactive?: boolean
  privileged?: boolean
  size?: { rows: number; columns: number } | undefined
}

export interface Executed {
  readonly pid: number
  readonly stdio: Stdio
  /** The process has ended, and its output was read as far as it came. */
  readonly exit: Promise<Exit>
  signal(number: number): void
}

/** Throws WRONG_STATE, COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, INVALID_USER, START_FAILED. */
export async function execIn(container: Container, options: ExecOptions): Promise<Executed> {
  const { config, state } = container
  const notRunning = (): never => {
    throw new RuntimeError('WRONG_STATE', `exec ${config.name}: it is not running`)
  }
  if (state.status !== 'running' || state.pid === 0) notRunning()
  // It would be born frozen, and this process would wait for it.
  if (liveStatus(container) === 'paused')
    throw new RuntimeError('WRONG_STATE', `exec ${config.name}: it is paused; unpause it first`)
  const target = pidfdOpen(state.pid)
  if (target < 0) notRunning()
  const opened: number[] = []
  let stdio: Stdio | undefined
  try {
    if (startOf(state.pid) !== state.pidStart || !isAlive(state.pid, state.pidStart)) notRunning()
    const root = openSync(`/proc/${state.pid}/root`, O.PATH | O.DIRECTORY)
    opened.push(root)
    const identity = await identityIn(root, options.user ?? config.user, config.groupAdd)
    const tty = options.tty === true
    const bounded = options.privileged === true ? { ...config, privileged: true } : config
    const process: OciProcess = {
      user: { uid: identity.uid, gid: identity.gid, additionalGids: identity.groups },
      args: [...options.args],
      env: environment(config, identity.home, options.env ?? [], tty),
      cwd: options.workdir ?? config.workdir,
      capabilities: capabilitiesFor(bounded, identity.uid),
      rlimits: rlimitsOf(config),
      noNewPrivileges: config.noNewPrivileges,
    }
    const runtime = await runtimeOf(container)
    if (runtime !== undefined) return await execByRuntime(runtime, process, options)
    stdio = tty
      ? openTerminal(devptsOf(root, opened), identity.uid, options.size)
      : openPipes(identity.uid, identity.gid, options.interactive === true)
    const profile = seccompOf(config)
    let filter: Buffer | undefined
    if (profile !== undefined && options.privileged !== true) {
      const { compile } = await import('./seccomp/compile.js')
      filter = compile(profile, process.capabilities?.bounding ?? [])
    }
    const entry = Cgroup.at(state.cgroup).openForBirth()
    opened.push(...entry.procs, ...(entry.v2 === undefined ? [] : [entry.v2]))
    const launched = await enter(process, target, namespacesOf(state.pid), {
      stdio: stdio.child,
      terminal: tty,
      ...(filter === undefined ? {} : { filter }),
      cgroupProcs: entry.procs,
      ...(entry.v2 === undefined ? {} : { cgroupV2: entry.v2 }),
    })
    return executed(launched, stdio)
  } catch (error) {
    stdio?.close()
    throw error
  } finally {
    stdio?.closeChild()
    for (const fd of opened) closeSync(fd)
    close(target)
    prctl(PR.SET_DUMPABLE, 1)
  }
}

async function execByRuntime(runtime: OciRuntime, process: OciProcess, options: ExecOptions): Promise<Executed> {
  const { uid, gid } = process.user
  const { launched, stdio } = await runtime.exec(process, {
    uid,
    gid,
    terminal: options.tty === true,
    interactive: options.interactive === true,
    size: options.size,
  })
  return executed(launched, stdio)
}

function executed({ pid, pidfd }: Launched, stdio: Stdio): Executed {
  return {
    pid,
    stdio,
    exit: exitOf(pidfd).then(async exit => {
      // What it has left behind in the background may hold the pipes: what comes late is not waited for.
      await drained(stdio, 500)
      close(pidfd)
      return exit
    }),
    signal: number => void pidfdSignal(pidfd, number),
  }
}

/** The namespaces of `pid` that are not this process's own: joining one's own user namespace is refused. */
function namespacesOf(pid: number): number {
  const kinds = [
    ['mnt', CLONE.NEWNS],
    ['pid', CLONE.NEWPID],
    ['net', CLONE.NEWNET],
    ['ipc', CLONE.NEWIPC],
    ['uts', CLONE.NEWUTS],
    ['cgroup', CLONE.NEWCGROUP],
    ['user', CLONE.NEWUSER],
  ] as const
  return kinds.reduce((flags, [name, flag]) => (sameNamespace(pid, name) ? flags : flags | flag), 0)
}

function sameNamespace(pid: number, name: string): boolean {
  const inode = (path: string): number => {
    const fd = openSync(path, 'r')
    const st = new Stat()
    const r = fstat(fd, st)
    closeSync(fd)
    return r < 0 ? -1 : st.ino
  }
  return inode(`/proc/${pid}/ns/${name}`) === inode(`/proc/self/ns/${name}`)
}

const DEVPTS_MAGIC = 0x1cd1

/** The container's /dev/pts, if it is one: its root may have put anything there, so what was opened is looked at. */
function devptsOf(root: number, opened: number[]): number {
  const fd = openat(root, 'dev/pts', O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
  if (fd >= 0) opened.push(fd)
  const fs = new StatFs()
  const st = new Stat()
  if (fd < 0 || fstatfs(fd, fs) < 0 || fs.type !== DEVPTS_MAGIC || fstat(fd, st) < 0 || (st.mode & S.IFMT) !== S.IFDIR)
    throw new RuntimeError('START_FAILED', 'exec -t: the container has no devpts at /dev/pts')
  return fd
}
