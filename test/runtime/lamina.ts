/** Runs the built command line in scratch roots of the test's own, and says what this machine lacks for it. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { accessSync, chmodSync, chownSync, constants, mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Result {
  code: number
  stdout: string
  stderr: string
}

const bin = fileURLToPath(new URL('../../bin/lamina.js', import.meta.url))

/** Why containers cannot be tested here; false when they can. */
export function unable(): string | false {
  if (process.geteuid?.() !== 0) return 'needs root'
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK)
  } catch {
    return 'no /dev/fuse'
  }
  return false
}

export class Lamina {
  readonly scratch = mkdtempSync(join(tmpdir(), 'runtime-'))
  readonly root = join(this.scratch, 'root')
  readonly run = join(this.scratch, 'run')
  readonly env: NodeJS.ProcessEnv = { ...process.env, LAMINA_ROOT: this.root, LAMINA_RUN: this.run }

  readonly #prefix: readonly string[]

  /** `prefix` is put before each command: nsenter or setpriv, to run it elsewhere or as somebody else. */
  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix
    mkdirSync(this.root)
    mkdirSync(this.run)
  }

  /** Its roots become `uid`'s. */
  giveTo(uid: number): void {
    chmodSync(this.scratch, 0o755)
    for (const dir of [this.root, this.run]) chownSync(dir, uid, uid)
  }

  /** Runs a command to its end. */
  do(args: readonly string[], input?: string): Result {
    const [program = '', ...words] = this.line(args)
    const r = spawnSync(program, words, {
      env: this.env,
      encoding: 'utf8',
      timeout: 300_000,
      killSignal: 'SIGKILL',
      maxBuffer: 64 << 20,
      ...(input === undefined ? { stdio: ['ignore', 'pipe', 'pipe'] } : { input }),
    })
    if (r.error !== undefined && r.status === null && r.pid === 0) throw r.error
    return { code: r.status ?? 128 + 9, stdout: r.stdout, stderr: r.stderr }
  }

  /** The output of a command that must succeed. */
  out(...args: string[]): string {
    const r = this.do(args)
    if (r.code !== 0) throw new Error(`lamina ${args.join(' ')}: exit ${r.code}: ${r.stderr}`)
    return r.stdout.trim()
  }

  start(args: readonly string[]): ChildProcess {
    const [program = '', ...words] = this.line(args)
    return spawn(program, words, { env: this.env, stdio: ['pipe', 'pipe', 'pipe'] })
  }

  /** The whole command line of a command, for those that start it in another way. */
  line(args: readonly string[]): string[] {
    // Without `--` Node 20 takes an --env-file among the arguments for its own.
    return [...this.#prefix, process.execPath, '--', bin, ...args]
  }

  /** Ends every container. The scratch goes with the test file's own, for the run still looks there for what is left. */
  close(): void {
    for (const id of this.do(['ps', '-aq']).stdout.split('\n').filter(Boolean)) this.do(['rm', '-f', id])
  }
}

/** Waits until `holds`, at most `seconds`. */
export async function until(holds: () => boolean, seconds = 120): Promise<boolean> {
  const end = Date.now() + seconds * 1000
  while (Date.now() < end) {
    if (holds()) return true
    await new Promise(resolve => setTimeout(resolve, 25))
  }
  return holds()
}
