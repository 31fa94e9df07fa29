/**
 * Owns the order in which a container's first process comes to be: from a finished OCI spec and prepared mounts to the
 * birth's table, up to the exec. Every step stands where it does for a reason, given beside it.
 * Invariant: nothing of the image is looked at before pivot_root; after it, a symlink of the image cannot lead out.
 */
import { openSync, read } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { E, errnoName } from '../errno.js'
import { Birth } from '../sys/birth.js'
import { AT, CLONE, O } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { alloc } from '../sys/libc.js'
import { CALL, pidfdOpen, pipe, PR, WAIT, waitPidfd } from '../sys/process.js'
import type { Hierarchy } from './cgroup/hierarchy.js'
import { RuntimeError } from './error.js'
import type { NamespaceType, OciProcess, OciSpec } from './oci.js'
import type { PreparedMount } from './prepare.js'
import { ProcessSteps } from './process-steps.js'
import { TreeSteps } from './tree-steps.js'

/** What a process is born with beside its spec. fds stay the caller's. */
export interface Surroundings {
  /** Three fds to be stdin, stdout and stderr. */
  stdio: readonly [number, number, number]
  /** stdin is a terminal that becomes the controlling one. */
  terminal: boolean
  /** N of the terminal's /dev/pts/N, to be /dev/console too. */
  console?: number
  /** The compiled seccomp filter. */
  filter?: Buffer
  /** Open `cgroup.procs` or `tasks` files (v1) in which the child enters itself. */
  cgroupProcs?: readonly number[]
  /** Directory of a cgroup v2 to be born in. */
  cgroupV2?: number
  /** The child waits for a byte from this fd before it goes on to the exec. */
  waitFor?: number
}

export interface Root {
  /** A detached mount: the container's root. */
  fd: number
  mounts: readonly PreparedMount[]
  /** For mounts of type cgroup. */
  hierarchies: readonly Hierarchy[]
}

/** The process was born and has exec'd its program. */
export interface Launched {
  pid: number
  pidfd: number
}

const cloneFlag: Readonly<Record<NamespaceType, number>> = {
  mount: CLONE.NEWNS,
  pid: CLONE.NEWPID,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  cgroup: CLONE.NEWCGROUP,
  user: CLONE.NEWUSER,
}

/**
 * Starts the process of `spec` in a new container on `root`. Resolves once the program runs. Throws COMMAND_NOT_FOUND
 * or COMMAND_NOT_EXECUTABLE for the program, START_FAILED with the step and its errno for anything else; then the
 * child is gone and reaped.
 */
export async function launch(spec: OciSpec, root: Root, around: Surroundings): Promise<Launched> {
  const birth = new Birth()
  const tree = new TreeSteps(birth)
  const steps = new ProcessSteps(birth)
  const { process: p, linux } = spec
  let flags = 0
  const joins: { type: NamespaceType; path: string }[] = []
  for (const { type, path } of linux.namespaces)
    if (path !== undefined) joins.push({ type, path })
    else if (type !== 'cgroup') flags |= cloneFlag[type]
  const isNew = (type: NamespaceType): boolean => linux.namespaces.some(n => n.type === type && n.path === undefined)

  birth.step('setsid', CALL.setsid, [])
  for (const fd of around.cgroupProcs ?? []) birth.step('enter cgroup', CALL.write, [fd, '0', 1])
  // The cgroup namespace is rooted where its maker is: after the move.
  if (isNew('cgroup')) birth.step('cgroup namespace', CALL.unshare, [CLONE.NEWCGROUP])
  const pidAt = alloc(8)
  join(birth, joins, pidAt)
  tree.private(linux.rootfsPropagation)
  const spare = openSync('/dev/null', 'r')
  tree.makeDetached(root.mounts, spare)
  tree.pivot(root.fd)
  if (isNew('network')) steps.loopback()
  for (const m of root.mounts) tree.mount(m, root.hierarchies)
  if (around.console !== undefined) tree.console(around.console)
  if (isNew('uts')) steps.names(spec)
  tree.sysctl(linux.sysctl ?? {})
  tree.makeDirectories(p.cwd)
  for (const path of linux.readonlyPaths ?? []) tree.readOnlyPath(path)
  for (const path of linux.maskedPaths ?? []) tree.mask(path)
  if (spec.root.readonly === true) tree.readOnlyRoot()
  if (around.waitFor !== undefined) birth.step('wait', CALL.read, [around.waitFor, alloc(8), 1])
  try {
    return await begin(steps, p, around, { flags, pidAt, forked: joins.some(j => j.type === 'pid'), dieWith: true })
  } finally {
    close(spare)
  }
}

/** setns into each; a pid namespace is entered by the children only, so the table forks. */
function join(birth: Birth, joins: readonly { type: NamespaceType; path: string }[], pidAt: Buffer): void {
  for (const { type, path } of joins) {
    const fd = birth.step(`open ${path}`, CALL.openat, [AT.FDCWD, bytesOf(path), O.RDONLY | O.CLOEXEC, 0])
    const enter = birth.step(`join ${type} namespace`, CALL.setns, [-1, cloneFlag[type]])
    birth.pass(fd, enter, 0)
  }
  if (joins.some(j => j.type === 'pid')) forkHere(birth, pidAt)
}

const CLONE_PARENT = 0x8000n
const CLONE_PARENT_SETTID = 0x100000n

function forkHere(birth: Birth, pidAt: Buffer): void {
  const args = alloc(88)
  args.writeBigUInt64LE(BigInt(CLONE.VM) | CLONE_PARENT | CLONE_PARENT_SETTID, 0)
  args.writeBigUInt64LE(BigInt(birth.hold(pidAt)), 24)
  birth.fork('fork', CALL.clone3, [args, 88])
}

/**
 * Runs `p` inside the namespaces of a running process (`lamina exec`): its cgroup, its namespaces, its root.
 * Errors as `launch`. While the child shares this process's memory inside the container, no ptrace may reach it:
 * PR_SET_DUMPABLE 0 comes first (CVE-2016-9962).
 */
export async function enter(
  p: OciProcess,
  target: number,
  namespaces: number,
  around: Surroundings,
): Promise<Launched> {
  const birth = new Birth()
  const pidAt = alloc(8)
  birth.step('not dumpable', CALL.prctl, [PR.SET_DUMPABLE, 0, 0, 0, 0])
  birth.step('setsid', CALL.setsid, [])
  for (const fd of around.cgroupProcs ?? []) birth.step('enter cgroup', CALL.write, [fd, '0', 1])
  birth.step('join namespaces', CALL.setns, [target, namespaces])
  birth.step('chdir /', CALL.chdir, ['/'])
  const forked = (namespaces & CLONE.NEWPID) !== 0
  if (forked) forkHere(birth, pidAt)
  new TreeSteps(birth).makeDirectories(p.cwd)
  return begin(new ProcessSteps(birth), p, around, { flags: 0, pidAt, forked, dieWith: false })
}

interface Kind {
  flags: number
  pidAt: Buffer
  forked: boolean
  dieWith: boolean
}

/** The common second half: stdio, limits, credentials, exec; then the birth, and the wait for its exec. */
async function begin(steps: ProcessSteps, p: OciProcess, around: Surroundings, kind: Kind): Promise<Launched> {
  const { birth } = steps
  const status = pipe()
  steps.stdio(around.stdio, around.terminal)
  steps.closeOthers(status.write)
  steps.limits(p)
  // After the close: a workdir of /proc/self/fd/N finds no directory of the host (CVE-2024-21626).
  birth.step(`chdir ${p.cwd}`, CALL.chdir, [bytesOf(p.cwd)])
  steps.credentials(p, around.filter, kind.dieWith)
  steps.exec(p.args, p.env)
  return bear(steps, status, p.args[0] ?? '', kind, around.cgroupV2)
}

/**
 * Runs a program of the host in a mount namespace of its own, in which `mounts` (detached ones) are put at their paths
 * before: another OCI runtime finds the container's root there, and the host shows nothing of it. Errors as `launch`.
 */
export async function launchOnHost(
  args: readonly string[],
  env: readonly string[],
  stdio: Surroundings['stdio'],
  mounts: readonly { fd: number; path: string }[],
): Promise<Launched> {
  const birth = new Birth()
  const tree = new TreeSteps(birth)
  const steps = new ProcessSteps(birth)
  const status = pipe()
  birth.step('setsid', CALL.setsid, [])
  // Not private: what is bound with propagation is to see the host's mounts.
  tree.private('rslave')
  for (const { fd, path } of mounts) tree.attach(fd, path)
  birth.step('chdir /', CALL.chdir, ['/'])
  steps.stdio(stdio, false)
  steps.closeOthers(status.write)
  steps.signals()
  steps.exec(args, env)
  return bear(steps, status, args[0] ?? '', { flags: CLONE.NEWNS, pidAt: alloc(8), forked: false })
}

/** The birth, and the wait for its exec. `status` is closed. */
async function bear(
  steps: ProcessSteps,
  status: { read: number; write: number },
  name: string,
  { flags, pidAt, forked }: Omit<Kind, 'dieWith'>,
  cgroup?: number,
): Promise<Launched> {
  const born = steps.birth.run({ flags, ...(cgroup === undefined ? {} : { cgroup }) })
  close(status.write)
  if (born.pid < 0) {
    close(status.read)
    throw new RuntimeError('START_FAILED', `start: clone3: ${errnoName(born.pid)}`)
  }
  await closed(status.read)
  let { pid, pidfd } = born
  if (forked && pidAt.readInt32LE(0) > 0) {
    waitPidfd(pidfd, WAIT.EXITED)
    close(pidfd)
    pid = pidAt.readInt32LE(0)
    pidfd = pidfdOpen(pid)
  }
  const failure = whyNot(steps, name)
  if (failure === undefined) return { pid, pidfd }
  waitPidfd(pidfd, WAIT.EXITED)
  close(pidfd)
  throw failure
}

/** Resolves when the pipe's other end is closed everywhere: at the exec, or at the child's death. */
async function closed(fd: number): Promise<void> {
  await new Promise<void>(resolve => read(fd, Buffer.alloc(1), 0, 1, null, () => resolve()))
  close(fd)
}

const TOO_OLD: Readonly<Record<number, string>> = { [E.ENOSYS]: ' (containers need Linux 5.12)' }

function whyNot({ birth, exhausted, execs }: ProcessSteps, name: string): RuntimeError | undefined {
  const stopped = birth.stopped()
  if (stopped !== undefined)
    return new RuntimeError(
      'START_FAILED',
      `start: ${stopped.what}: ${errnoName(stopped.errno)}${TOO_OLD[stopped.errno] ?? ''}`,
    )
  if (birth.result(exhausted) === undefined) return undefined
  const errors = execs.map(i => -(birth.result(i) ?? 0))
  const worse = errors.find(e => e !== E.ENOENT && e !== E.ENOTDIR)
  if (worse === undefined) return new RuntimeError('COMMAND_NOT_FOUND', `exec ${name}: command not found`)
  const cause = worse === E.EACCES ? 'permission denied' : worse === E.ENOEXEC ? 'exec format error' : errnoName(worse)
  return new RuntimeError('COMMAND_NOT_EXECUTABLE', `exec ${name}: ${cause}`)
}
