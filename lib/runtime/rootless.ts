/**
 * Owns running as an ordinary user: the whole command is run again as root of a user namespace of its own, with the
 * user's subordinate ids (subuid(5), newuidmap(1)), or with his one id where there are none.
 * Invariant: nothing here needs a privilege; what the namespace cannot do is said by whoever tries it.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { errnoName } from '../errno.js'
import { Birth } from '../sys/birth.js'
import { AT, CLONE, MS, O } from '../sys/constants.js'
import { close, writeAt } from '../sys/file.js'
import { addressOf, alloc } from '../sys/libc.js'
import { CALL, exitOf, pidfdSignal, pipe, PR, prctl } from '../sys/process.js'
import { RuntimeError } from './error.js'

const MARK = 'LAMINA_USERNS'

/** Whether this process is root only of a user namespace that was made here. */
export function isRootless(): boolean {
  return process.env[MARK] !== undefined
}

/**
 * Runs this very command line again as root of a new user namespace, and returns its exit code; undefined when this
 * process is root already. `env` is added to the environment. With `peer`, a process in a user namespace that this user
 * made before, it is run in that one. Throws NOT_PERMITTED where user namespaces are forbidden.
 */
export async function runAsNamespaceRoot(env: Readonly<Record<string, string>>, peer = 0): Promise<number | undefined> {
  if (process.geteuid?.() === 0) return undefined
  const { uid, gid, username } = userInfo()
  const ready = pipe()
  const birth = new Birth()
  if (peer === 0) birth.step('wait for the id maps', CALL.read, [ready.read, alloc(8), 1])
  else {
    const path = `/proc/${peer}/ns/user`
    const opened = birth.step(`open ${path}`, CALL.openat, [AT.FDCWD, path, O.RDONLY | O.CLOEXEC, 0])
    const joined = birth.step('join the user namespace', CALL.setns, [-1, CLONE.NEWUSER])
    birth.pass(opened, joined, 0)
    birth.step('a mount namespace', CALL.unshare, [CLONE.NEWNS])
  }
  birth.step('setgid', CALL.setresgid, [0, 0, 0])
  birth.step('setuid', CALL.setresuid, [0, 0, 0])
  // F_SETFD: Node has marked its own stdio close-on-exec.
  for (const fd of [0, 1, 2]) birth.step(`keep fd ${fd}`, CALL.fcntl, [fd, 2, 0])
  birth.step('make mounts private', CALL.mount, [null, '/', null, MS.REC | MS.PRIVATE, null])
  const fresh = alloc(32)
  for (let n = 1; n <= 31; n++)
    if (n !== 9 && n !== 19) birth.step(`signal ${n}`, CALL.rt_sigaction, [n, fresh, 0, 8], { ignore: 'any' })
  birth.step('unblock signals', CALL.rt_sigprocmask, [2, alloc(8), 0, 8])
  const full = { ...process.env, ...env, [MARK]: `${uid}:${gid}` }
  const envp = Object.entries<string | undefined>(full).flatMap(([k, v]) => (v === undefined ? [] : [`${k}=${v}`]))
  // `--`: Node 20 takes an --env-file anywhere behind for its own.
  const own = process.execArgv.filter(word => word !== '--')
  const argv = [process.execPath, ...own, '--', process.argv[1] ?? '', ...process.argv.slice(2)]
  birth.step('exec', CALL.execve, [process.execPath, birth.vector(argv), birth.vector(envp)])
  const born = birth.run({ flags: peer === 0 ? CLONE.NEWUSER | CLONE.NEWNS : 0 })
  close(ready.read)
  if (born.pid < 0)
    throw new RuntimeError('NOT_PERMITTED', `a user namespace is not permitted here (${errnoName(born.pid)})`)
  try {
    if (peer === 0) {
      map(born.pid, uid, gid, username)
      const byte = alloc(1)
      writeAt(ready.write, addressOf(byte), 1)
    }
  } catch (error) {
    pidfdSignal(born.pidfd, 9)
    throw error
  } finally {
    close(ready.write)
  }
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const
  // With a terminal the kernel sends to both; the child decides when to end.
  const pass = (_: NodeJS.Signals, number: number): void => {
    if (!process.stdin.isTTY) pidfdSignal(born.pidfd, number)
  }
  for (const name of names) process.on(name, pass)
  const exit = await exitOf(born.pidfd)
  for (const name of names) process.off(name, pass)
  // The child's change of ids has made this process's memory unreadable, its own /proc/self included.
  prctl(PR.SET_DUMPABLE, 1)
  const stopped = birth.stopped()
  if (stopped !== undefined)
    throw new RuntimeError('NOT_PERMITTED', `user namespace: ${stopped.what}: ${errnoName(stopped.errno)}`)
  return exit.code
}

/** Maps 0 to the user, and 1… to his subordinate ids; without them (or without newuidmap) 0 alone. */
function map(pid: number, uid: number, gid: number, name: string): void {
  const users = subordinate('/etc/subuid', name, uid)
  const groups = subordinate('/etc/subgid', name, uid)
  if (users !== undefined && groups !== undefined)
    try {
      const words = (own: number, s: { first: number; count: number }): string[] =>
        [pid, 0, own, 1, 1, s.first, s.count].map(String)
      execFileSync('newuidmap', words(uid, users), { stdio: 'pipe' })
      execFileSync('newgidmap', words(gid, groups), { stdio: 'pipe' })
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        const said = String((error as { stderr?: Buffer }).stderr ?? error)
        throw new RuntimeError('NOT_PERMITTED', `user namespace: newuidmap: ${said.trim().split('\n')[0] ?? ''}`)
      }
    }
  process.stderr.write('lamina: no subordinate ids (newuidmap, /etc/subuid): files of other owners cannot be made\n')
  writeFileSync(`/proc/${pid}/setgroups`, 'deny')
  writeFileSync(`/proc/${pid}/uid_map`, `0 ${uid} 1\n`)
  writeFileSync(`/proc/${pid}/gid_map`, `0 ${gid} 1\n`)
}

/** The first range of a user in subuid(5) or subgid(5). */
export function subordinate(file: string, name: string, uid: number): { first: number; count: number } | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
  for (const line of text.split('\n')) {
    const [who, first, count] = line.split(':')
    if ((who === name || who === String(uid)) && Number(count) > 0)
      return { first: Number(first), count: Number(count) }
  }
  return undefined
}

/** Whether this process's user namespace maps one group only. */
export function hasSingleId(): boolean {
  return readFileSync('/proc/self/gid_map', 'latin1').trim().split('\n').length === 1
}
