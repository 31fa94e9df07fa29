/**
 * Owns running a program of this machine as a filter over bytes that nobody trusts: for formats that no library here
 * reads. It reads a pipe and writes a pipe, and that is all it can do: no network, no other processes to see, no file it
 * could write, no privileges (as root it becomes nobody), a bound on its memory.
 * Invariant: when the generator has ended, in whatever way, the program is gone and reaped.
 */
import { existsSync } from 'node:fs'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { E, errnoName } from '../errno.js'
import { Birth } from '../sys/birth.js'
import { CLONE } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { alloc } from '../sys/libc.js'
import { CALL, exitOf, pidfdSignal, pipe, PR } from '../sys/process.js'
import { ImageError } from './error.js'
import { through } from './inflate.js'

const DIRECTORIES = ['/usr/bin', '/bin', '/usr/local/bin']
const NOBODY = 65534
/** setrlimit(2) numbers, and what the program may have of each: no file written, no core, 2 GiB of memory. */
const LIMITS: readonly (readonly [name: string, number: number, value: bigint])[] = [
  ['file size', 1, 0n],
  ['core', 4, 0n],
  ['memory', 9, 2n << 30n],
]

/** How long the last words of a program that has ended are waited for. */
const LAST_WORDS_MS = 500

/** Where a program is, in the directories of the system only. */
export function findProgram(name: string): string | undefined {
  return DIRECTORIES.map(directory => `${directory}/${name}`).find(path => existsSync(path))
}

/**
 * What `path` with `args` makes of `source`. Throws ImageError BLOB_CORRUPT when it fails (with the last line it said),
 * UNSUPPORTED when it cannot be started.
 */
export async function* filterThrough(
  path: string,
  args: readonly string[],
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  const { pidfd, stdio, said } = start(path, args)
  let failure: unknown
  let complete = false
  let code = 0
  try {
    yield* through(stdio, source, path)
    complete = true
  } catch (error) {
    failure = error
  } finally {
    stdio.destroy()
    if (!complete) pidfdSignal(pidfd, 9)
    ;({ code } = await exitOf(pidfd))
    close(pidfd)
  }
  if (complete && code === 0) return
  // A program that gave up says why; that its pipe broke is only how we noticed.
  const why = (await said()).trim().split('\n').at(-1)
  if (why) throw new ImageError('BLOB_CORRUPT', `unpack: ${why}`, {}, failure)
  throw failure instanceof Error ? failure : new ImageError('BLOB_CORRUPT', `unpack: ${path} ended with code ${code}`)
}

interface Started {
  readonly pidfd: number
  readonly stdio: Duplex
  /** The end of what it has written to standard error, once it has ended. */
  said(): Promise<string>
}

function start(path: string, args: readonly string[]): Started {
  const [input, output, error] = [pipe(), pipe(), pipe()]
  const birth = new Birth()
  birth.step('chdir', CALL.chdir, ['/'])
  ;[input.read, output.write, error.write].forEach((fd, i) => birth.step(`fd ${i}`, CALL.dup3, [fd, i, 0]))
  birth.step('close all', CALL.close_range, [3, 0xffffffff, 0])
  for (const [what, number, value] of LIMITS) {
    const limit = alloc(16)
    limit.writeBigUInt64LE(value, 0)
    limit.writeBigUInt64LE(value, 8)
    birth.step(`limit ${what}`, CALL.prlimit64, [0, number, limit, 0])
  }
  const root = process.getuid?.() === 0
  if (root) {
    birth.step('setgroups', CALL.setgroups, [0, alloc(4)])
    birth.step('setgid', CALL.setresgid, [NOBODY, NOBODY, NOBODY])
    birth.step('setuid', CALL.setresuid, [NOBODY, NOBODY, NOBODY])
  }
  birth.step('no_new_privs', CALL.prctl, [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0])
  birth.step('unblock signals', CALL.rt_sigprocmask, [2, alloc(8), 0, 8])
  birth.step(`exec ${path}`, CALL.execve, [path, birth.vector([path, ...args]), birth.vector(['LC_ALL=C'])])
  const apart = CLONE.NEWNS | CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWPID
  let born = birth.run({ flags: root ? apart : apart | CLONE.NEWUSER, wait: true })
  // A plain user on a kernel without user namespaces for him: the program is he, with the limits above.
  if (born.pid < 0 && !root) born = birth.run({ wait: true })
  for (const fd of [input.read, output.write, error.write]) close(fd)
  const writable = new Socket({ fd: input.write, readable: false, writable: true })
  const readable = new Socket({ fd: output.read, readable: true, writable: false })
  const errors = new Socket({ fd: error.read, readable: true, writable: false })
  let text = ''
  errors.on('data', (chunk: Buffer) => (text = (text + chunk.toString('latin1')).slice(-1000)))
  errors.on('error', () => errors.destroy())
  const closed = new Promise<void>(resolve => errors.once('close', () => resolve()))
  // Its end may be seen before its last words. What it has left running may have them open for long.
  const said = async (): Promise<string> => {
    const timer = setTimeout(() => errors.destroy(), LAST_WORDS_MS)
    await closed
    clearTimeout(timer)
    return text
  }
  const stopped = born.pid < 0 ? { what: 'clone3', errno: -born.pid } : birth.stopped()
  if (stopped !== undefined) {
    for (const socket of [writable, readable, errors]) socket.destroy()
    if (born.pid >= 0) void exitOf(born.pidfd).then(() => close(born.pidfd))
    const code = stopped.errno === E.ENOENT ? 'not there' : errnoName(stopped.errno)
    throw new ImageError('UNSUPPORTED', `unpack: start ${path}: ${stopped.what}: ${code}`)
  }
  return { pidfd: born.pidfd, stdio: Duplex.from({ writable, readable }), said }
}
