/**
 * Owns the steps of a birth that make a process what it is: names of its namespaces, stdio, limits, signals, identity,
 * capabilities, seccomp filter, and the exec. The order in which they are taken is `launch`'s.
 */
import { bytesOf } from '../bytes.js'
import { E } from '../errno.js'
import type { Birth, Label } from '../sys/birth.js'
import { O } from '../sys/constants.js'
import { alloc } from '../sys/libc.js'
import { CALL, PR } from '../sys/process.js'
import { allCapabilities, capabilityBits } from './capabilities.js'
import { RuntimeError } from './error.js'
import type { OciProcess, OciSpec } from './oci.js'
import { hasSingleId, isRootless } from './rootless.js'

const SECCOMP_SET_MODE_FILTER = 1
const SIOCSIFFLAGS = 0x8914
const TIOCSCTTY = 0x540e
/** The fd that tells the parent of the exec by being closed; all others above stdio are closed before. */
const STATUS_FD = 3

export class ProcessSteps {
  readonly birth: Birth
  readonly execs: number[] = []
  /** The step after the last exec: whoever comes there has not been able to exec. */
  exhausted = -1

  constructor(birth: Birth) {
    this.birth = birth
  }

  /** Brings the loopback interface of the new network namespace up. */
  loopback(): void {
    const request = alloc(40)
    request.write('lo\0', 'latin1')
    request.writeInt16LE(1, 16) // IFF_UP
    const socket = this.birth.step('socket', process.arch === 'arm64' ? 198 : 41, [2, 2, 0])
    const up = this.birth.step('loopback up', CALL.ioctl, [-1, SIOCSIFFLAGS, request])
    this.birth.pass(socket, up, 0)
  }

  names(spec: OciSpec): void {
    const set = (what: string, nr: number, name: string | undefined): void => {
      if (name !== undefined) this.birth.step(what, nr, [bytesOf(name), Buffer.byteLength(name)])
    }
    set('sethostname', CALL.sethostname, spec.hostname)
    set('setdomainname', CALL.setdomainname, spec.domainname)
  }

  stdio(stdio: readonly [number, number, number], terminal: boolean): void {
    const F_SETFD = 2
    stdio.forEach((fd, i) =>
      fd === i
        ? this.birth.step(`fd ${i}`, CALL.fcntl, [i, F_SETFD, 0])
        : this.birth.step(`fd ${i}`, CALL.dup3, [fd, i, 0]),
    )
    if (terminal) this.birth.step('controlling terminal', CALL.ioctl, [0, TIOCSCTTY, 0])
  }

  /** Closes everything but stdio and the status fd, so that no fd of the host is left, not even for a chdir. */
  closeOthers(status: number): void {
    if (status !== STATUS_FD) this.birth.step('place status', CALL.dup3, [status, STATUS_FD, O.CLOEXEC])
    this.birth.step('close all', CALL.close_range, [STATUS_FD + 1, 0xffffffff, 0])
  }

  limits(process: OciProcess): void {
    for (const { type, soft, hard } of process.rlimits ?? []) {
      const number = rlimitNumber(type)
      const value = alloc(16)
      value.writeBigUInt64LE(limitValue(soft), 0)
      value.writeBigUInt64LE(limitValue(hard), 8)
      this.birth.step(`limit ${type}`, CALL.prlimit64, [0, number, value, 0])
    }
    this.birth.step('umask', CALL.umask, [process.user.umask ?? 0o022])
  }

  /** Signals as a program expects them: nothing ignored, nothing blocked. */
  signals(): void {
    const fresh = alloc(32)
    // Real-time signals are nobody's to ignore, and a handler does not outlive the birth.
    for (let n = 1; n <= 31; n++)
      if (n !== 9 && n !== 19) this.birth.step(`signal ${n}`, CALL.rt_sigaction, [n, fresh, 0, 8], { ignore: 'any' })
    this.birth.step('unblock signals', CALL.rt_sigprocmask, [2, alloc(8), 0, 8])
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
          this.birth.step(`drop ${name}`, CALL.prctl, [PR.CAPBSET_DROP, n, 0, 0, 0], { ignore: [E.EINVAL] })
      })
    }
    if (p.noNewPrivileges === true) this.birth.step('no_new_privs', CALL.prctl, [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0])
    const { uid, gid, additionalGids = [] } = p.user
    this.birth.step('keep capabilities', CALL.prctl, [PR.SET_KEEPCAPS, 1, 0, 0, 0])
    const groups = alloc(Math.max(4, additionalGids.length * 4))
    additionalGids.forEach((g, i) => groups.writeUInt32LE(g, i * 4))
    // A namespace with a single id forbids setgroups (user_namespaces(7)): the user keeps the groups he has anyway.
    const denied = isRootless() && hasSingleId() ? { ignore: [E.EPERM] } : {}
    this.birth.step('setgroups', CALL.setgroups, [additionalGids.length, groups], denied)
    this.birth.step('setgid', CALL.setresgid, [gid, gid, gid])
    this.birth.step('setuid', CALL.setresuid, [uid, uid, uid])
    this.birth.step('forget keep capabilities', CALL.prctl, [PR.SET_KEEPCAPS, 0, 0, 0, 0])
    this.signals()
    if (dieWith) this.birth.step('death signal', CALL.prctl, [PR.SET_PDEATHSIG, 9, 0, 0, 0])
    if (filter !== undefined) {
      // setuid has taken the effective capabilities: SYS_ADMIN comes back for the filter alone.
      const admin = 1n << 21n
      const final = sets === undefined ? undefined : capabilityBits(sets.permitted)
      const setpcap = 1n << 8n
      if (final !== undefined && uid !== 0) this.#capset('raise', final | admin | setpcap, final | admin | setpcap, 0n)
      const program = alloc(16)
      program.writeUInt16LE(filter.length / 8, 0)
      program.writeBigUInt64LE(BigInt(this.birth.hold(filter)), 8)
      this.birth.step('seccomp', CALL.seccomp, [SECCOMP_SET_MODE_FILTER, 0, program])
    }
    if (sets === undefined) return
    const [effective, permitted, inheritable] = [sets.effective, sets.permitted, sets.inheritable].map(capabilityBits)
    this.#capset('capset', effective ?? 0n, permitted ?? 0n, inheritable ?? 0n)
    for (const name of sets.ambient)
      this.birth.step(`ambient ${name}`, CALL.prctl, [PR.CAP_AMBIENT, 2, allCapabilities.indexOf(name), 0, 0])
  }

  #capset(what: string, effective: bigint, permitted: bigint, inheritable: bigint): void {
    const header = alloc(8)
    header.writeUInt32LE(0x20080522, 0) // _LINUX_CAPABILITY_VERSION_3
    const data = alloc(24)
    ;[effective, permitted, inheritable].forEach((bits, i) => {
      data.writeUInt32LE(Number(bits & 0xffffffffn), i * 4)
      data.writeUInt32LE(Number(bits >> 32n), 12 + i * 4)
    })
    this.birth.step(what, CALL.capset, [header, data])
  }

  /** Tries each place of PATH; a file without `#!` that the kernel cannot run goes to /bin/sh, as a shell would do. */
  exec(args: readonly string[], env: readonly string[]): void {
    const envp = this.birth.vector(env)
    const [program = '', ...rest] = args
    const direct = program.includes('/')
    for (const path of direct ? [program] : searchPath(env).map(dir => `${dir}/${program}`)) {
      const script: Label = { at: 0 }
      const next: Label = { at: 0 }
      this.execs.push(
        this.birth.step(`exec ${path}`, CALL.execve, [bytesOf(path), this.birth.vector(args), envp], {
          branch: [[E.ENOEXEC, script]],
          ignore: 'any',
        }),
      )
      this.birth.step('jump', CALL.chdir, [''], { branch: [[E.ENOENT, next]] })
      this.birth.mark(script)
      const shell = ['/bin/sh', path, ...rest]
      this.birth.step('exec /bin/sh', CALL.execve, ['/bin/sh', this.birth.vector(shell), envp], { ignore: 'any' })
      this.birth.mark(next)
    }
    this.exhausted = this.birth.step('nothing could be executed', CALL.getpid, [])
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
