/**
 * Owns driving another OCI runtime (`--runtime crun|runc|PATH`) by its command line: create, start, exec, kill, delete, on
 * the container's bundle. Its processes become children of this one (child subreaper), so their ends are seen by pidfd.
 * Invariant: the container's root is mounted only in a mount namespace that the runtime and the container are in.
 */
import { spawn, spawnSync, type StdioOptions } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FsError } from '../errno.js'
import { bytesOf } from '../bytes.js'
import { close } from '../sys/file.js'
import { exitOf, pidfdOpen, PR, prctl, watch } from '../sys/process.js'
import { accept, listenAt, receiveFd } from '../sys/socket.js'
import { writeProcess } from './bundle.js'
import type { Container } from './containers.js'
import { RuntimeError } from './error.js'
import { launchOnHost, type Launched } from './launch.js'
import type { OciProcess } from './oci.js'
import { findProgram } from './program.js'
import { ofTerminal, openPipes, type Stdio } from './streams.js'

export interface Started {
  launched: Launched
  stdio: Stdio
}

interface Streams {
  uid: number
  gid: number
  terminal: boolean
  /** Without a terminal: stdin stays open. */
  interactive: boolean
  size?: { rows: number; columns: number } | undefined
}

/** The path of a runtime by its name in PATH, or as given. Throws INVALID when there is none to execute. */
export function findRuntime(name: string): string {
  const path = findProgram(name)
  if (path === undefined) throw new RuntimeError('INVALID', `--runtime ${name}: there is no such program`)
  return path
}

export class OciRuntime {
  readonly #id: string
  readonly #program: string
  /** The runtime's own state, gone with the container. */
  readonly #state: string
  readonly #directory: string
  #serial = 0

  /** Of a container that has one of its own (runtime-of.ts). */
  constructor({ id, directory, runDirectory, config }: Container) {
    this.#id = id
    this.#program = findRuntime(config.runtime)
    this.#directory = directory
    this.#state = join(runDirectory, 'oci')
  }

  #global(log: string): string[] {
    return ['--root', this.#state, '--log', log, '--log-format', 'json']
  }

  /**
   * Creates the container from the bundle in its directory, with `root` as its rootfs and `mounts` at their paths. Its
   * program waits for `start`. Throws COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, or START_FAILED with the runtime's words.
   */
  create(root: number, mounts: readonly { fd: number; path: string }[], streams: Streams): Promise<Started> {
    const rootfs = join(this.#directory, 'rootfs')
    for (const path of [rootfs, ...mounts.map(m => m.path)]) mkdirSync(path, { recursive: true, mode: 0o755 })
    const words = ['create', '--bundle', this.#directory]
    return this.#begin(words, streams, (args, stdio) => {
      const env = Object.entries(process.env).flatMap(([k, v]) => (v === undefined ? [] : [`${k}=${v}`]))
      return launchOnHost(args, env, stdio, [{ fd: root, path: rootfs }, ...mounts])
    })
  }

  /** Lets the created container's program run. Errors as `create`. */
  async start(): Promise<void> {
    await this.#command('start')
  }

  /** Runs `p` in the container. Errors as `create`. */
  exec(p: OciProcess, streams: Streams): Promise<Started> {
    const file = this.#temporary('process')
    mkdirSync(this.#state, { recursive: true, mode: 0o700 })
    writeProcess(file, { ...p, terminal: streams.terminal })
    const words = ['exec', '--detach', '--process', file]
    return this.#begin(words, streams, async (args, stdio) => {
      const [program = '', ...rest] = args
      const child = spawn(program, rest, { stdio: [...stdio], cwd: '/' })
      await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject))
      return { pid: child.pid ?? 0, pidfd: -1, exit: new Promise<number>(r => child.once('close', c => r(c ?? 255))) }
    }).finally(() => rmSync(file, { force: true }))
  }

  #temporary(name: string): string {
    return join(this.#state, `${name}.${process.pid}.${this.#serial++}`)
  }

  /** create and exec: both end when the process is there, and leave its pid in a file and its terminal on a socket. */
  async #begin(
    words: readonly string[],
    streams: Streams,
    run: (args: string[], stdio: [number, number, number]) => Promise<Launched & { exit?: Promise<number> }>,
  ): Promise<Started> {
    prctl(PR.SET_CHILD_SUBREAPER, 1)
    mkdirSync(this.#state, { recursive: true, mode: 0o700 })
    const [log, pidFile] = [this.#temporary('log'), this.#temporary('pid')]
    const args = [this.#program, ...this.#global(log), ...words, '--pid-file', pidFile]
    const console = streams.terminal ? new ConsoleSocket(this.#temporary('tty')) : undefined
    const pipes = streams.terminal ? undefined : openPipes(streams.uid, streams.gid, streams.interactive)
    const none = streams.terminal ? openSync('/dev/null', 'r+') : -1
    let stdio = pipes
    try {
      if (console !== undefined) args.push('--console-socket', console.path)
      const runtime = await run([...args, this.#id], pipes === undefined ? [none, none, none] : [...pipes.child])
      const code = await (runtime.exit ?? ended(runtime))
      if (code !== 0) throw failureFrom(log, this.#program, words[0] ?? '')
      const pid = Number(readFileSync(pidFile, 'latin1'))
      const pidfd = pidfdOpen(pid)
      if (pidfd < 0) throw new FsError(pidfd, 'pidfd_open', String(pid))
      if (console !== undefined) stdio = ofTerminal(await console.terminal, streams.size)
      return { launched: { pid, pidfd }, stdio: stdio as Stdio }
    } catch (error) {
      pipes?.close()
      throw error
    } finally {
      pipes?.closeChild()
      if (none >= 0) close(none)
      console?.close()
      for (const file of [log, pidFile]) rmSync(file, { force: true })
    }
  }

  async #command(word: string, ...rest: string[]): Promise<void> {
    mkdirSync(this.#state, { recursive: true, mode: 0o700 })
    const log = this.#temporary('log')
    const child = spawn(this.#program, [...this.#global(log), word, ...rest, this.#id], quiet)
    try {
      const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve))
      if (code !== 0) throw failureFrom(log, this.#program, word)
    } finally {
      rmSync(log, { force: true })
    }
  }

  /** Sends a signal to the container's first process. False: the runtime says that it cannot (it has ended). */
  kill(signal: number): boolean {
    const log = this.#temporary('log')
    const { status } = spawnSync(this.#program, [...this.#global(log), 'kill', this.#id, String(signal)], quiet)
    rmSync(log, { force: true })
    return status === 0
  }

  /** Afterwards the runtime knows nothing of the container, and nothing of it runs. */
  delete(): void {
    if (!existsSync(this.#state)) return
    spawnSync(this.#program, [...this.#global('/dev/null'), 'delete', '--force', this.#id], quiet)
    rmSync(this.#state, { recursive: true, force: true })
  }
}

const quiet: { stdio: StdioOptions; cwd: string } = { stdio: 'ignore', cwd: '/' }

async function ended({ pidfd }: Launched): Promise<number> {
  const { code } = await exitOf(pidfd)
  close(pidfd)
  return code
}

/** Receives the master of the terminal that the runtime makes in the container's devpts. */
class ConsoleSocket {
  readonly path: string
  readonly terminal: Promise<number>
  readonly #fd: number
  #watch: { close(): void } | undefined

  constructor(path: string) {
    this.path = path
    this.#fd = listenAt(bytesOf(path))
    if (this.#fd < 0) throw new FsError(this.#fd, 'listen', path)
    this.terminal = new Promise((resolve, reject) => {
      this.#watch = watch(this.#fd, () => {
        const connection = accept(this.#fd)
        if (connection < 0) return
        const master = receiveFd(connection)
        close(connection)
        if (master < 0) reject(new FsError(master, 'recvmsg', path))
        else resolve(master)
      })
    })
    this.terminal.catch(() => undefined)
  }

  close(): void {
    this.#watch?.close()
    close(this.#fd)
    rmSync(this.path, { force: true })
  }
}

/** What the runtime has logged last as an error, in the words that the caller's exit code depends on. */
function failureFrom(log: string, program: string, word: string): RuntimeError {
  const said = existsSync(log)
    ? readFileSync(log, 'utf8')
        .split('\n')
        .flatMap(line => {
          try {
            const { level, msg } = JSON.parse(line) as { level?: string; msg?: string }
            return level === 'error' && msg !== undefined ? [msg] : []
          } catch {
            return line === '' ? [] : [line]
          }
        })
    : []
  const why = said.at(-1) ?? 'it failed and did not say why'
  const message = `${program.slice(program.lastIndexOf('/') + 1)} ${word}: ${why}`
  if (/executable file .*not found|open executable.*No such file|exec: .*no such file/i.test(why))
    return new RuntimeError('COMMAND_NOT_FOUND', message)
  if (/(executable|exec).*permission denied/i.test(why)) return new RuntimeError('COMMAND_NOT_EXECUTABLE', message)
  return new RuntimeError('START_FAILED', message)
}
