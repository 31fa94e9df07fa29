/** Other people's programs in tests: run them, say which are missing, a registry on loopback. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Why a test that needs root and these programs is skipped, or false. */
export function missing(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return 'needs root'
  const absent = programs.filter(p => spawnSync('sh', ['-c', `command -v ${p}`]).status !== 0)
  return absent.length > 0 ? `not installed: ${absent.join(', ')}` : false
}

/** Runs a program to its end; its output. Throws with its messages when it fails. */
export function run(program: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): string {
  const r = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 26, timeout: 300_000, ...options })
  if (r.status !== 0)
    throw new Error(`${program} ${args.join(' ')}: exit ${r.status} ${r.stderr}${r.error?.message ?? ''}`)
  return r.stdout
}

export async function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** A docker-registry with its data under `directory`. */
export async function startRegistry(
  directory: string,
  tries = 5,
): Promise<{ host: string; stop: () => Promise<void> }> {
  const port = await freePort()
  mkdirSync(directory, { recursive: true })
  const config = join(directory, 'config.yml')
  writeFileSync(
    config,
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${directory}/data\nhttp:\n  addr: 127.0.0.1:${port}\n`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const state: { exit?: number | null } = {}
  const ended = new Promise<void>(resolve => child.once('exit', code => resolve(void (state.exit = code))))
  // Another may have taken the port since it was free: then this one ends, and is started once more on another.
  for (let i = 0; ; i++) {
    if (state.exit !== undefined) {
      if (tries === 0) throw new Error(`docker-registry ended with ${state.exit}`)
      return startRegistry(directory, tries - 1)
    }
    if (i > 2000) throw new Error('docker-registry does not answer')
    const answered = await fetch(`http://127.0.0.1:${port}/v2/`).then(
      response => response.ok,
      () => false,
    )
    if (answered && !('exit' in state)) break
    await sleep(50)
  }
  return {
    host: `127.0.0.1:${port}`,
    stop: () => {
      child.kill()
      return ended
    },
  }
}
