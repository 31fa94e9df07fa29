/**
 * Owns the order in which a container's first process comes to be: from a finished OCI spec and prepared mounts to the
 * birth's table, up to the exec. Every step stands where it does for a reason, given beside it.
 * Invariant: nothing of the image is looked at before pivot_root; after it, a symlink of the image cannot lead out.
 */
import { openSync, read } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { E, errnoName } from '../errno.js'
import { Birth, type Label } from '../sys/birth.js'
import { AT, CLONE, MNT, MOUNT_ATTR, MOVE_MOUNT, MS, O, OPEN_TREE, RESOLVE } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { alloc } from '../sys/libc.js'
import { CALL, pidfdOpen, pipe, PR, WAIT, waitPidfd } from '../sys/process.js'
import { allCapabilities, capabilityBits } from './capabilities.js'
import type { Hierarchy } from './cgroup/hierarchy.js'
import { RuntimeError } from './error.js'
import type { NamespaceType, OciProcess, OciSpec } from './oci.js'
import type { PreparedMount } from './prepare.js'
import { hasSingleId, isRootless } from './rootless.js'

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

const MNT_ATTR_SIZE = 32
const SECCOMP_SET_MODE_FILTER = 1
const SIOCSIFFLAGS = 0x8914
const TIOCSCTTY = 0x540e
/** The fd that tells the parent of the exec by being closed; all others above stdio are closed before. */
const STATUS_FD = 3

const cloneFlag: Readonly<Record<NamespaceType, number>> = {
  mount: CLONE.NEWNS,
  pid: CLONE.NEWPID,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  cgroup: CLONE.NEWCGROUP,
  user: CLONE.NEWUSER,
}

/** Builds the table step by step. Methods are in the order in which `launch` and `enter` use them. */
class Plan {
  readonly birth = new Birth()
  readonly execs: number[] = []
  /** The step after the last exec: whoever comes there has not been able to exec. */
  exhausted = -1

  do(what: string, nr: number, args: Parameters<Birth['step']>[2], rules: Parameters<Birth['step']>[3] = {}): number {
    return this.birth.step(what, nr, args, rules)
  }

  /** Opens `path` inside the root, following the image's symlinks but no magic link; its fd goes to an argument of step `next`. */
  #open(
    path: string,
    flags: number,
    mode = 0,
    rules: Parameters<Birth['step']>[3] = {},
    tree: number = AT.FDCWD,
  ): number {
    const how = alloc(24)
    how.writeBigUInt64LE(BigInt(flags | O.CLOEXEC), 0)
    how.writeBigUInt64LE(BigInt(mode), 8)
    how.writeBigUInt64LE(BigInt(RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS), 16)
    return this.do(`open ${path}`, CALL.openat2, [tree, bytesOf(path), how, 24], rules)
  }

  /** mkdir -p inside the root. What cannot be made shows when it is used. */
  makeDirectories(path: string, mode = 0o755): void {
    const parts = path.split('/').filter(p => p !== '')
    parts.forEach((name, i) => {
      const parent = this.#open(`/${parts.slice(0, i).join('/')}`, O.PATH | O.DIRECTORY, 0, { ignore: 'any' })
      const made = this.do(`mkdir ${path}`, CALL.mkdirat, [-1, bytesOf(name), mode], { ignore: 'any' })
      this.birth.pass(parent, made, 0)
    })
  }

  #makeFile(path: string): void {
    const parent = path.slice(0, path.lastIndexOf('/'))
    this.makeDirectories(parent)
    const opened: Label = { at: 0 }
    // A symlink that leads nowhere (Debian's /etc/resolv.conf into /run) is replaced.
    this.#open(path, O.RDONLY | O.CREAT | O.NOCTTY | O.NONBLOCK, 0o644, {
      branch: [
        [E.EROFS, opened],
        [E.ENXIO, opened],
      ],
      ignore: 'any',
    })
    this.birth.mark(opened)
  }

  /**
   * Makes mounts of filesystems that belong to the child's namespaces, detached, while the host's /proc is still there:
   * in a user namespace the kernel gives a new procfs or sysfs only to who sees a whole one already.
   * `spare` is an fd number of this process that the child may use for its own.
   */
  makeDetached(mounts: readonly PreparedMount[], spare: number): void {
    for (const { how, options, destination } of mounts) {
      if (how.do !== 'make' || how.type === 'cgroup' || options.data.length > 0) continue
      const opened = this.do(`fsopen ${how.type}`, CALL.fsopen, [how.type, 1])
      const placed = this.do(`fsopen ${how.type}`, CALL.dup3, [-1, spare, O.CLOEXEC])
      this.birth.pass(opened, placed, 0)
      this.do(`source of ${destination}`, CALL.fsconfig, [spare, 1, 'source', bytesOf(how.source), 0])
      this.do(`mount ${destination}`, CALL.fsconfig, [spare, 6, null, null, 0])
      this.#made.set(destination, this.do(`mount ${destination}`, CALL.fsmount, [spare, 1, options.set]))
    }
  }
  readonly #made = new Map<string, number>()

  private(propagation: string | undefined): void {
    const kind = propagation === 'rslave' || propagation === 'slave' ? MS.SLAVE : MS.PRIVATE
    this.do('make mounts private', CALL.mount, [null, '/', null, MS.REC | kind, null])
  }

  /** The new root is mounted over `/`, entered, and pivoted to; the old one is then below it, and detached. */
  pivot(root: number): void {
    const both = MOVE_MOUNT.F_EMPTY_PATH
    this.do('attach root', CALL.move_mount, [root, '', AT.FDCWD, '/', both])
    this.do('enter root', CALL.fchdir, [root])
    this.do('pivot_root', CALL.pivot_root, ['.', '.'])
    this.do('detach old root', CALL.umount2, ['.', MNT.DETACH])
    this.do('chdir /', CALL.chdir, ['/'])
  }

  mount(m: PreparedMount, hierarchies: readonly Hierarchy[]): void {
    const { destination: at, how, options } = m
    if (m.file) this.#makeFile(at)
    else this.makeDirectories(at)
    const flags = MOVE_MOUNT.F_EMPTY_PATH | MOVE_MOUNT.T_EMPTY_PATH
    if (how.do === 'part') {
      this.#part(at, how.fd, how.path, flags)
      return
    }
    const target = this.#open(at, O.PATH)
    const made = this.#made.get(at)
    if (how.do === 'attach' || made !== undefined) {
      const from = how.do === 'attach' ? how.fd : -1
      const move = this.do(`mount ${at}`, CALL.move_mount, [from, '', -1, '', flags])
      if (made !== undefined) this.birth.pass(made, move, 0)
      this.birth.pass(target, move, 2)
    } else {
      // mount(2) takes no fd: step into the directory that was opened without magic links.
      const enter = this.do(`enter ${at}`, CALL.fchdir, [-1])
      this.birth.pass(target, enter, 0)
      if (how.type === 'cgroup') this.#cgroup(options.flags, hierarchies)
      else {
        const data = options.data.length > 0 ? bytesOf(options.data.join(',')) : null
        this.do(`mount ${at}`, CALL.mount, [bytesOf(how.source), '.', how.type, options.flags, data])
      }
      this.do('chdir /', CALL.chdir, ['/'])
    }
  }

  /**
   * A mount has to be in this namespace before a part of it can be cloned (open_tree(2): before Linux 6.15 no detached one
   * can be): it is put aside under /dev for a moment.
   */
  #part(at: string, tree: number, path: string, flags: number): void {
    const aside = '/dev/.lamina'
    this.do(`mkdir ${aside}`, CALL.mkdirat, [AT.FDCWD, aside, 0o700], { ignore: [E.EEXIST] })
    this.do('put aside', CALL.move_mount, [tree, '', AT.FDCWD, aside, MOVE_MOUNT.F_EMPTY_PATH])
    const found = this.#open(path, O.PATH, 0, {}, tree)
    const clone = this.do(`clone ${path}`, CALL.open_tree, [
      -1,
      '',
      OPEN_TREE.CLONE | OPEN_TREE.CLOEXEC | AT.EMPTY_PATH,
    ])
    this.birth.pass(found, clone, 0)
    const target = this.#open(at, O.PATH)
    const move = this.do(`mount ${at}`, CALL.move_mount, [-1, '', -1, '', flags])
    this.birth.pass(clone, move, 0)
    this.birth.pass(target, move, 2)
    this.do('take away', CALL.umount2, [aside, MNT.DETACH])
    this.do(`rmdir ${aside}`, CALL.unlinkat, [AT.FDCWD, aside, AT.REMOVEDIR])
  }

  /** v2: the one hierarchy here; v1: a tmpfs with one mount for each, then read-only. */
  #cgroup(flags: number, hierarchies: readonly Hierarchy[]): void {
    const v2 = hierarchies.find(h => h.version === 2)
    if (v2 !== undefined && hierarchies.length === 1) {
      this.do('mount cgroup2', CALL.mount, ['cgroup', '.', 'cgroup2', flags, null])
      return
    }
    if (hierarchies.length === 0) return
    const inner = flags & ~MS.RDONLY
    this.do('mount cgroup tmpfs', CALL.mount, ['tmpfs', '.', 'tmpfs', inner, 'mode=755,size=1m'])
    // The tmpfs covers `.`: come back through the name.
    this.do('chdir /sys/fs/cgroup', CALL.chdir, ['/sys/fs/cgroup'])
    for (const h of hierarchies) {
      this.do(`mkdir ${h.name}`, CALL.mkdirat, [AT.FDCWD, h.name, 0o755], { ignore: 'any' })
      const type = h.version === 2 ? 'cgroup2' : 'cgroup'
      this.do(`mount cgroup ${h.name}`, CALL.mount, [type, h.name, type, flags, h.data === '' ? null : h.data])
    }
    this.do('cgroup tmpfs read-only', CALL.mount, [null, '.', null, MS.REMOUNT | MS.BIND | flags, null])
  }

  console(number: number): void {
    this.#makeFile('/dev/console')
    this.do('mount /dev/console', CALL.mount, [`/dev/pts/${number}`, '/dev/console', null, MS.BIND, null])
  }

  sysctl(values: Readonly<Record<string, string>>): void {
    for (const [key, value] of Object.entries(values)) {
      const path = `/proc/sys/${key.includes('/') ? key : key.replaceAll('.', '/')}`
      const opened = this.#open(path, O.WRONLY)
      const written = this.do(`sysctl ${key}=${value}`, CALL.write, [-1, bytesOf(value), Buffer.byteLength(value)])
      this.birth.pass(opened, written, 0)
    }
  }

  #attributes(what: string, path: string, set: number, flags: number, rules = {}): void {
    const attr = alloc(MNT_ATTR_SIZE)
    attr.writeBigUInt64LE(BigInt(set), 0)
    this.do(what, CALL.mount_setattr, [AT.FDCWD, bytesOf(path), flags, attr, MNT_ATTR_SIZE], rules)
  }

  /** Bound over itself and made read-only; a path that is not there needs nothing. */
  readOnlyPath(path: string): void {
    const past: Label = { at: 0 }
    const none = [[E.ENOENT, past]] as const
    this.do(`bind ${path}`, CALL.mount, [bytesOf(path), bytesOf(path), null, MS.BIND | MS.REC, null], { branch: none })
    this.#attributes(`read-only ${path}`, path, MOUNT_ATTR.RDONLY, AT.RECURSIVE)
    this.birth.mark(past)
  }

  /** Files are covered with /dev/null, directories with an empty read-only tmpfs. */
  mask(path: string): void {
    const directory: Label = { at: 0 }
    const past: Label = { at: 0 }
    this.do(`mask ${path}`, CALL.mount, ['/dev/null', bytesOf(path), null, MS.BIND, null], {
      branch: [
        [E.ENOTDIR, directory],
        [E.ENOENT, past],
      ],
    })
    const over: Label = { at: 0 }
    // An errno that never comes makes a jump: chdir to '' is ENOENT.
    this.do('jump', CALL.chdir, [''], { branch: [[E.ENOENT, over]] })
    this.birth.mark(directory)
    this.do(`mask ${path}`, CALL.mount, ['tmpfs', bytesOf(path), 'tmpfs', MS.RDONLY, 'size=0k,nr_inodes=2'])
    this.birth.mark(over)
    this.birth.mark(past)
  }

  readOnlyRoot(): void {
    this.#attributes('read-only root', '/', MOUNT_ATTR.RDONLY, 0)
  }

  /** Brings the loopback interface of the new network namespace up. */
  loopback(): void {
    const request = alloc(40)
    request.write('lo\0', 'latin1')
    request.writeInt16LE(1, 16) // IFF_UP
    const socket = this.do('socket', process.arch === 'arm64' ? 198 : 41, [2, 2, 0])
    const up = this.do('loopback up', CALL.ioctl, [-1, SIOCSIFFLAGS, request])
    this.birth.pass(socket, up, 0)
  }

  names(spec: OciSpec): void {
    const set = (what: string, nr: number, name: string | undefined): void => {
      if (name !== undefined) this.do(what, nr, [bytesOf(name), Buffer.byteLength(name)])
    }
    set('sethostname', CALL.sethostname, spec.hostname)
    set('setdomainname', CALL.setdomainname, spec.domainname)
  }

  stdio({ stdio, terminal }: Surroundings): void {
    const F_SETFD = 2
    stdio.forEach((fd, i) =>
      fd === i ? this.do(`fd ${i}`, CALL.fcntl, [i, F_SETFD, 0]) : this.do(`fd ${i}`, CALL.dup3, [fd, i, 0]),
    )
    if (terminal) this.do('controlling terminal', CALL.ioctl, [0, TIOCSCTTY, 0])
  }

  /** Closes everything but stdio and the status fd, so that no fd of the host is left, not even for a chdir. */
  closeOthers(status: number): void {
    if (status !== STATUS_FD) this.do('place status', CALL.dup3, [status, STATUS_FD, O.CLOEXEC])
    this.do('close all', CALL.close_range, [STATUS_FD + 1, 0xffffffff, 0])
  }

  limits(process: OciProcess): void {
    for (const { type, soft, hard } of process.rlimits ?? []) {
      const number = rlimitNumber(type)
      const value = alloc(16)
      value.writeBigUInt64LE(limitValue(soft), 0)
      value.writeBigUInt64LE(limitValue(hard), 8)
      this.do(`limit ${type}`, CALL.prlimit64, [0, number, value, 0])
    }
    this.do('umask', CALL.umask, [process.user.umask ?? 0o022])
  }

  /** Signals as a program expects them: nothing ignored, nothing blocked. */
  signals(): void {
    const fresh = alloc(32)
    // Real-time signals are nobody's to ignore, and a handler does not outlive the birth.
    for (let n = 1; n <= 31; n++)
      if (n !== 9 && n !== 19) this.do(`signal ${n}`, CALL.rt_sigaction, [n, fresh, 0, 8], { ignore: 'any' })
    this.do('unblock signals', CALL.rt_sigprocmask, [2, alloc(8), 0, 8])
  }

  /**
   * From all capabilities to those of the spec. The filter goes in while CAP_SYS_ADMIN is still there (else it would
   * need no_new_privs), and as late as can be, so that a strict one must allow little more than the program.
   */
  credentials(p: OciProcess, filter: Buffer | undefined, dieWith: boolean): void {
    const sets = p.capabilities
    if (sets !== undefined) {
      const bounding = capabilityBits(sets.bounding)
      allCapabilities.forEach((name, n) => {
        if (!(bounding & (1n << BigInt(n))))
          this.do(`drop ${name}`, CALL.prctl, [PR.CAPBSET_DROP, n, 0, 0, 0], { ignore: [E.EINVAL] })
      })
    }
    if (p.noNewPrivileges === true) this.do('no_new_privs', CALL.prctl, [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0])
    const { uid, gid, additionalGids = [] } = p.user
    this.do('keep capabilities', CALL.prctl, [PR.SET_KEEPCAPS, 1, 0, 0, 0])
    const groups = alloc(Math.max(4, additionalGids.length * 4))
    additionalGids.forEach((g, i) => groups.writeUInt32LE(g, i * 4))
    // A namespace with a single id forbids setgroups (user_namespaces(7)): the user keeps the groups he has anyway.
    const denied = isRootless() && hasSingleId() ? { ignore: [E.EPERM] } : {}
    this.do('setgroups', CALL.setgroups, [additionalGids.length, groups], denied)
    this.do('setgid', CALL.setresgid, [gid, gid, gid])
    this.do('setuid', CALL.setresuid, [uid, uid, uid])
    this.do('forget keep capabilities', CALL.prctl, [PR.SET_KEEPCAPS, 0, 0, 0, 0])
    this.signals()
    if (dieWith) this.do('death signal', CALL.prctl, [PR.SET_PDEATHSIG, 9, 0, 0, 0])
    if (filter !== undefined) {
      // setuid has taken the effective capabilities: SYS_ADMIN comes back for the filter alone.
      const admin = 1n << 21n
      const final = sets === undefined ? undefined : capabilityBits(sets.permitted)
      const setpcap = 1n << 8n
      if (final !== undefined && uid !== 0) this.#capset('raise', final | admin | setpcap, final | admin | setpcap, 0n)
      const program = alloc(16)
      program.writeUInt16LE(filter.length / 8, 0)
      program.writeBigUInt64LE(BigInt(this.birth.hold(filter)), 8)
      this.do('seccomp', CALL.seccomp, [SECCOMP_SET_MODE_FILTER, 0, program])
    }
    if (sets === undefined) return
    const [effective, permitted, inheritable] = [sets.effective, sets.permitted, sets.inheritable].map(capabilityBits)
    this.#capset('capset', effective ?? 0n, permitted ?? 0n, inheritable ?? 0n)
    for (const name of sets.ambient)
      this.do(`ambient ${name}`, CALL.prctl, [PR.CAP_AMBIENT, 2, allCapabilities.indexOf(name), 0, 0])
  }

  #capset(what: string, effective: bigint, permitted: bigint, inheritable: bigint): void {
    const header = alloc(8)
    header.writeUInt32LE(0x20080522, 0) // _LINUX_CAPABILITY_VERSION_3
    const data = alloc(24)
    ;[effective, permitted, inheritable].forEach((bits, i) => {
      data.writeUInt32LE(Number(bits & 0xffffffffn), i * 4)
      data.writeUInt32LE(Number(bits >> 32n), 12 + i * 4)
    })
    this.do(what, CALL.capset, [header, data])
  }

  /** Tries each place of PATH; a file without `#!` that the kernel cannot run goes to /bin/sh, as a shell would do. */
  exec(args: readonly string[], env: readonly string[]): void {
    const envp = this.#vector(env)
    const [program = '', ...rest] = args
    const direct = program.includes('/')
    for (const path of direct ? [program] : searchPath(env).map(dir => `${dir}/${program}`)) {
      const script: Label = { at: 0 }
      const next: Label = { at: 0 }
      this.execs.push(
        this.do(`exec ${path}`, CALL.execve, [bytesOf(path), this.#vector(args), envp], {
          branch: [[E.ENOEXEC, script]],
          ignore: 'any',
        }),
      )
      this.do('jump', CALL.chdir, [''], { branch: [[E.ENOENT, next]] })
      this.birth.mark(script)
      const shell = ['/bin/sh', path, ...rest]
      this.do('exec /bin/sh', CALL.execve, ['/bin/sh', this.#vector(shell), envp], { ignore: 'any' })
      this.birth.mark(next)
    }
    this.exhausted = this.do('nothing could be executed', CALL.getpid, [])
  }

  #vector(strings: readonly string[]): Buffer {
    const v = alloc((strings.length + 1) * 8)
    strings.forEach((text, i) => {
      const bytes = Buffer.from(`${text}\0`)
      v.writeBigUInt64LE(BigInt(this.birth.hold(bytes)), i * 8)
    })
    return v
  }
}

/** PATH of the container's environment, with Docker's default when it has none. */
function searchPath(env: readonly string[]): string[] {
  const path = env.findLast(e => e.startsWith('PATH='))?.slice('PATH='.length)
  return (path ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin').split(':').map(d => d || '.')
}

const rlimitNames = 'CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME'
  .split(' ')
  .map(n => `RLIMIT_${n}`)

function rlimitNumber(type: string): number {
  const n = rlimitNames.indexOf(type)
  if (n < 0) throw new RuntimeError('INVALID', `ulimit ${type}: there is none of that name`)
  return n
}

function limitValue(n: number): bigint {
  return n < 0 ? 0xffffffffffffffffn : BigInt(n)
}

/**
 * Starts the process of `spec` in a new container on `root`. Resolves once the program runs. Throws COMMAND_NOT_FOUND
 * or COMMAND_NOT_EXECUTABLE for the program, START_FAILED with the step and its errno for anything else; then the
 * child is gone and reaped.
 */
export async function launch(spec: OciSpec, root: Root, around: Surroundings): Promise<Launched> {
  const plan = new Plan()
  const { process: p, linux } = spec
  let flags = 0
  const joins: { type: NamespaceType; path: string }[] = []
  for (const { type, path } of linux.namespaces)
    if (path !== undefined) joins.push({ type, path })
    else if (type !== 'cgroup') flags |= cloneFlag[type]
  const isNew = (type: NamespaceType): boolean => linux.namespaces.some(n => n.type === type && n.path === undefined)

  plan.do('setsid', CALL.setsid, [])
  for (const fd of around.cgroupProcs ?? []) plan.do('enter cgroup', CALL.write, [fd, '0', 1])
  // The cgroup namespace is rooted where its maker is: after the move.
  if (isNew('cgroup')) plan.do('cgroup namespace', CALL.unshare, [CLONE.NEWCGROUP])
  const pidAt = alloc(8)
  join(plan, joins, pidAt)
  plan.private(linux.rootfsPropagation)
  const spare = openSync('/dev/null', 'r')
  plan.makeDetached(root.mounts, spare)
  plan.pivot(root.fd)
  if (isNew('network')) plan.loopback()
  for (const m of root.mounts) plan.mount(m, root.hierarchies)
  if (around.console !== undefined) plan.console(around.console)
  if (isNew('uts')) plan.names(spec)
  plan.sysctl(linux.sysctl ?? {})
  plan.makeDirectories(p.cwd)
  for (const path of linux.readonlyPaths ?? []) plan.readOnlyPath(path)
  for (const path of linux.maskedPaths ?? []) plan.mask(path)
  if (spec.root.readonly === true) plan.readOnlyRoot()
  if (around.waitFor !== undefined) plan.do('wait', CALL.read, [around.waitFor, alloc(8), 1])
  try {
    return await begin(plan, p, around, { flags, pidAt, forked: joins.some(j => j.type === 'pid'), dieWith: true })
  } finally {
    close(spare)
  }
}

/** setns into each; a pid namespace is entered by the children only, so the table forks. */
function join(plan: Plan, joins: readonly { type: NamespaceType; path: string }[], pidAt: Buffer): void {
  for (const { type, path } of joins) {
    const fd = plan.do(`open ${path}`, CALL.openat, [AT.FDCWD, bytesOf(path), O.RDONLY | O.CLOEXEC, 0])
    const enter = plan.do(`join ${type} namespace`, CALL.setns, [-1, cloneFlag[type]])
    plan.birth.pass(fd, enter, 0)
  }
  if (joins.some(j => j.type === 'pid')) forkHere(plan, pidAt)
}

const CLONE_PARENT = 0x8000n
const CLONE_PARENT_SETTID = 0x100000n

function forkHere(plan: Plan, pidAt: Buffer): void {
  const args = alloc(88)
  args.writeBigUInt64LE(BigInt(CLONE.VM) | CLONE_PARENT | CLONE_PARENT_SETTID, 0)
  args.writeBigUInt64LE(BigInt(plan.birth.hold(pidAt)), 24)
  plan.birth.fork('fork', CALL.clone3, [args, 88])
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
  const plan = new Plan()
  const pidAt = alloc(8)
  plan.do('not dumpable', CALL.prctl, [PR.SET_DUMPABLE, 0, 0, 0, 0])
  plan.do('setsid', CALL.setsid, [])
  for (const fd of around.cgroupProcs ?? []) plan.do('enter cgroup', CALL.write, [fd, '0', 1])
  plan.do('join namespaces', CALL.setns, [target, namespaces])
  plan.do('chdir /', CALL.chdir, ['/'])
  const forked = (namespaces & CLONE.NEWPID) !== 0
  if (forked) forkHere(plan, pidAt)
  plan.makeDirectories(p.cwd)
  return begin(plan, p, around, { flags: 0, pidAt, forked, dieWith: false })
}

interface Kind {
  flags: number
  pidAt: Buffer
  forked: boolean
  dieWith: boolean
}

/** The common second half: stdio, limits, credentials, exec; then the birth, and the wait for its exec. */
async function begin(plan: Plan, p: OciProcess, around: Surroundings, kind: Kind): Promise<Launched> {
  const status = pipe()
  plan.stdio(around)
  plan.closeOthers(status.write)
  plan.limits(p)
  // After the close: a workdir of /proc/self/fd/N finds no directory of the host (CVE-2024-21626).
  plan.do(`chdir ${p.cwd}`, CALL.chdir, [bytesOf(p.cwd)])
  plan.credentials(p, around.filter, kind.dieWith)
  plan.exec(p.args, p.env)
  const born = plan.birth.run({
    flags: kind.flags,
    ...(around.cgroupV2 === undefined ? {} : { cgroup: around.cgroupV2 }),
  })
  close(status.write)
  if (born.pid < 0) {
    close(status.read)
    throw new RuntimeError('START_FAILED', `start: clone3: ${errnoName(born.pid)}`)
  }
  await closed(status.read)
  let { pid, pidfd } = born
  if (kind.forked && kind.pidAt.readInt32LE(0) > 0) {
    waitPidfd(pidfd, WAIT.EXITED)
    close(pidfd)
    pid = kind.pidAt.readInt32LE(0)
    pidfd = pidfdOpen(pid)
  }
  const failure = whyNot(plan, p)
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

function whyNot(plan: Plan, p: OciProcess): RuntimeError | undefined {
  const stopped = plan.birth.stopped()
  if (stopped !== undefined)
    return new RuntimeError('START_FAILED', `start: ${stopped.what}: ${errnoName(stopped.errno)}`)
  if (plan.birth.result(plan.exhausted) === undefined) return undefined
  const name = p.args[0] ?? ''
  const errors = plan.execs.map(i => -(plan.birth.result(i) ?? 0))
  const worse = errors.find(e => e !== E.ENOENT && e !== E.ENOTDIR)
  if (worse === undefined) return new RuntimeError('COMMAND_NOT_FOUND', `exec ${name}: command not found`)
  const cause = worse === E.EACCES ? 'permission denied' : worse === E.ENOEXEC ? 'exec format error' : errnoName(worse)
  return new RuntimeError('COMMAND_NOT_EXECUTABLE', `exec ${name}: ${cause}`)
}
