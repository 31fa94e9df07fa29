/** Other people's programs in tests: run them, say which are missing, a registry on loopback. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
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

export interface RegistryOptions {
  /** The `auth` section of its configuration, YAML. */
  readonly auth?: string
  /** Files of a certificate and its key. */
  readonly tls?: { readonly certificate: string; readonly key: string }
}

/** A docker-registry with its data under `directory`. */
export async function startRegistry(
  directory: string,
  options: RegistryOptions = {},
  tries = 5,
): Promise<{ host: string; stop: () => Promise<void> }> {
  const port = await freePort()
  mkdirSync(directory, { recursive: true })
  const config = join(directory, 'config.yml')
  const tls = options.tls && `\n  tls:\n    certificate: ${options.tls.certificate}\n    key: ${options.tls.key}`
  writeFileSync(
    config,
    `version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: ${directory}/data\n${options.auth ?? ''}http:\n  addr: 127.0.0.1:${port}${tls ?? ''}\n`,
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' })
  const state: { exit?: number | null } = {}
  const ended = new Promise<void>(resolve => child.once('exit', code => resolve(void (state.exit = code))))
  // Another may have taken the port since it was free: then this one ends, and is started once more on another.
  for (let i = 0; ; i++) {
    if (state.exit !== undefined) {
      if (tries === 0) throw new Error(`docker-registry ended with ${state.exit}`)
      return startRegistry(directory, options, tries - 1)
    }
    if (i > 2000) throw new Error('docker-registry does not answer')
    const status = await statusOf(`http${tls ? 's' : ''}://127.0.0.1:${port}/v2/`)
    if ((status === 200 || status === 401) && !('exit' in state)) break
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

/** The status of a GET, whoever answers; undefined when nobody does. */
function statusOf(url: string): Promise<number | undefined> {
  const get = url.startsWith('https:') ? https.get : http.get
  return new Promise(resolve => {
    const request = get(url, { rejectUnauthorized: false, agent: false }, response => {
      response.resume()
      resolve(response.statusCode)
    })
    request.on('error', () => resolve(undefined))
  })
}
