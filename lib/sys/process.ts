/**
 * Owns calls on processes: wait, signal, pidfd, prctl, pipes, and the numbers of the calls that a birth's table makes.
 * Results are `>= 0` or `-errno`; signals are numbers. Invariant: a process is named by pidfd wherever that exists, so
 * no call ever hits a recycled pid.
 */
import { constants } from 'node:os'
import koffi from 'koffi'
import { errnoName } from '../errno.js'
import { NR, NRA, addressOf, libc, ret, scratch, syscall6 } from './libc.js'

const arm = process.arch === 'arm64'

/** Numbers of the system calls that lib/runtime puts into a birth's table (asm/unistd.h). */
export const CALL = {
  ...NR,
  ...NRA,
  read: arm ? 63 : 0,
  write: arm ? 64 : 1,
  openat: arm ? 56 : 257,
  close: arm ? 57 : 3,
  dup3: arm ? 24 : 292,
  fcntl: arm ? 25 : 72,
  ioctl: arm ? 29 : 16,
  mkdirat: arm ? 34 : 258,
  mknodat: arm ? 33 : 259,
  symlinkat: arm ? 36 : 266,
  unlinkat: arm ? 35 : 263,
  umount2: arm ? 39 : 166,
  mount: arm ? 40 : 165,
  chdir: arm ? 49 : 80,
  fchdir: arm ? 50 : 81,
  chroot: arm ? 51 : 161,
  fchmodat: arm ? 53 : 268,
  fchownat: arm ? 54 : 260,
  setsid: arm ? 157 : 112,
  setpgid: arm ? 154 : 109,
  umask: arm ? 166 : 95,
  prctl: arm ? 167 : 157,
  sethostname: arm ? 161 : 170,
  setdomainname: arm ? 162 : 171,
  setgroups: arm ? 159 : 116,
  setresgid: arm ? 149 : 119,
  setresuid: arm ? 147 : 117,
  prlimit64: arm ? 261 : 302,
  rt_sigaction: arm ? 134 : 13,
  rt_sigprocmask: arm ? 135 : 14,
  seccomp: arm ? 277 : 317,
  unshare: arm ? 97 : 272,
  setns: arm ? 268 : 308,
  execve: arm ? 221 : 59,
  execveat: arm ? 281 : 322,
  exit_group: arm ? 94 : 231,
  getpid: arm ? 172 : 39,
  kill: arm ? 129 : 62,
  sendmsg: arm ? 211 : 46,
  nanosleep: arm ? 101 : 35,
  ppoll: arm ? 73 : 271,
} as const

/** setsid(2): away from the terminal it was started from. 0 or `-errno` (EPERM: it leads a process group). */
export function newSession(): number {
  return Math.min(0, ret(syscall6(CALL.setsid, 0, 0, 0, 0, 0, 0)))
}

/** dup3(2): `to` is what `fd` is, and stays open across exec. `to` or `-errno`. */
export function redirect(fd: number, to: number): number {
  return ret(syscall6(CALL.dup3, fd, to, 0, 0, 0, 0))
}

const P_PIDFD = 3
const info = scratch(128)
const infoAddress = addressOf(info)

/** How a process ended: its exit code, or the signal that killed it. */
export interface Exit {
  code: number
  signal: number
  /** A core was dumped. */
  core: boolean
}

export const WAIT = { NOHANG: 1, EXITED: 4, NOWAIT: 0x1000000, ALL: 0x40000000 } as const

/** waitid(P_PIDFD): reaps. undefined while it runs (WAIT.NOHANG), or `-errno` (ECHILD: not our child). */
export function waitPidfd(pidfd: number, flags: number = WAIT.NOHANG): Exit | number | undefined {
  info.fill(0)
  const r = ret(syscall6(NRA.waitid, P_PIDFD, pidfd, infoAddress, flags | WAIT.EXITED | WAIT.ALL, 0, 0))
  if (r < 0) return r
  if (info.readInt32LE(0) === 0) return undefined
  const status = info.readInt32LE(24)
  // CLD_EXITED 1, CLD_KILLED 2, CLD_DUMPED 3.
  const how = info.readInt32LE(8)
  return how === 1 ? { code: status, signal: 0, core: false } : { code: 128 + status, signal: status, core: how === 3 }
}

/** pidfd_open(2). ESRCH when there is no such process. */
export function pidfdOpen(pid: number): number {
  return ret(syscall6(NR.pidfd_open, pid, 0, 0, 0, 0, 0))
}

/** pidfd_send_signal(2). Signal 0 asks whether it lives (a zombie does). */
export function pidfdSignal(pidfd: number, signal: number): number {
  return ret(syscall6(NRA.pidfd_send_signal, pidfd, signal, 0, 0, 0, 0))
}

const pair = scratch(8)
const pairAddress = addressOf(pair)
const pipe2 = libc.func('int pipe2(uintptr_t fds, int flags)')

/** pipe2(2), close-on-exec. Throws on failure: without fds nothing goes on. */
export function pipe(): { read: number; write: number } {
  const r = ret(pipe2(pairAddress, 0o2000000) as number)
  if (r < 0) throw new Error(`pipe: ${errnoName(r)}`)
  return { read: pair.readInt32LE(0), write: pair.readInt32LE(4) }
}

/** prctl(2) of this process. */
export function prctl(option: number, a = 0, b = 0): number {
  return ret(syscall6(CALL.prctl, option, a, b, 0, 0, 0))
}

export const PR = {
  SET_PDEATHSIG: 1,
  SET_DUMPABLE: 4,
  SET_KEEPCAPS: 8,
  CAPBSET_READ: 23,
  CAPBSET_DROP: 24,
  SET_CHILD_SUBREAPER: 36,
  SET_NO_NEW_PRIVS: 38,
  CAP_AMBIENT: 47,
} as const

/** Watches an fd in the event loop; `ready` runs whenever it can be read or was hung up. Returns the watch's end. */
export function watch(fd: number, ready: () => void): { close(): void; unref(): void } {
  const handle = koffi.node.poll(fd, { readable: true, disconnect: true }, () => {
    ready()
    // Koffi calls back bare, not as Node does, and since Node 26 what was settled there waits for whatever event comes next: when the
    // end of a container is the last one there is none.
    setImmediate(() => undefined)
  })
  return { close: () => handle.close(), unref: () => handle.unref() }
}

/** Resolves when the process of `pidfd` (a child of this one) ends, and reaps it. The event loop waits, no thread does. */
export function exitOf(pidfd: number): Promise<Exit> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const exit = waitPidfd(pidfd)
      if (exit === undefined) return
      handle.close()
      if (typeof exit === 'number') reject(new Error(`waitid: ${errnoName(exit)}`))
      else resolve(exit)
    }
    const handle = watch(pidfd, look)
    look()
  })
}

/**
 * Resolves when the process of `pidfd` is gone (it may be any process), or after `milliseconds`. Then nothing watches the fd any
 * more: it may be closed, and its number be watched again. One watch per fd: not beside `exitOf` of the same.
 */
export function gone(pidfd: number, milliseconds: number): Promise<void> {
  return new Promise(resolve => {
    const end = (): void => {
      clearTimeout(timer)
      handle.close()
      resolve()
    }
    const timer = setTimeout(end, milliseconds)
    const handle = watch(pidfd, end)
  })
}

/** Signal number by name: `TERM`, `SIGTERM`, `15`, `SIGRTMIN+3`; undefined when there is none such. */
export function signalNumber(name: string): number | undefined {
  if (/^\d+$/.test(name)) {
    const n = Number(name)
    return n >= 0 && n <= 64 ? n : undefined
  }
  const bare = name.toUpperCase().replace(/^SIG/, '')
  const rt = /^RTMIN\+(\d+)$/.exec(bare)
  if (rt !== null) return 34 + Number(rt[1]) <= 64 ? 34 + Number(rt[1]) : undefined
  if (bare === 'RTMIN') return 34
  if (bare === 'RTMAX') return 64
  return (constants.signals as Record<string, number>)[`SIG${bare}`]
}

/** A stable identity of a process beside its pid: its start time in clock ticks since boot; undefined when it is gone. */
export function startTime(statOf: string): string | undefined {
  // Field 22 of /proc/PID/stat, counted after the last ')' because the name may hold anything.
  return statOf.slice(statOf.lastIndexOf(')') + 2).split(' ')[19]
}

const exitAtOnce = libc.func('void _exit(int code)')

/** _exit(2): ends this process without the 10-50 ms that Node needs to take itself apart. Nothing buffered is written. */
export function exitNow(code: number): never {
  exitAtOnce(code)
  throw new Error('unreachable')
}
