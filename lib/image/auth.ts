/**
 * Owns credentials: Docker's `config.json` (auths, credsStore, credHelpers) and its credential helper programs
 * (docker-credential-NAME get/store/erase, JSON on stdin and stdout).
 * Invariant: a secret is written to a file of mode 0600 only, and never into a message.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, realpathSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { ImageError } from './error.js'

export interface Credential {
  readonly username: string
  readonly password: string
  /** An OAuth2 refresh token in place of a password (helpers answer `<token>` as the user name). */
  readonly identityToken?: string | undefined
}

interface ConfigFile {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>
  credsStore?: string
  credHelpers?: Record<string, string>
  [key: string]: unknown
}

/** `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json`, else ~/.docker/config.json. */
export function credentialFile(env: NodeJS.ProcessEnv = process.env): string {
  if (env['REGISTRY_AUTH_FILE']) return env['REGISTRY_AUTH_FILE']
  return join(env['DOCKER_CONFIG'] || join(homedir(), '.docker'), 'config.json')
}

/** docker.io's credentials are kept under its old address. */
function keyOf(registry: string): string {
  return registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry
}

function keysOf(registry: string): string[] {
  return [keyOf(registry), registry, `https://${registry}`, `https://${registry}/v1/`, `https://${registry}/v2/`]
}

function read(path: string): ConfigFile {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  try {
    const json = JSON.parse(text) as unknown
    if (typeof json === 'object' && json !== null) return json as ConfigFile
  } catch {
    // Falls through to the message.
  }
  throw new ImageError('CREDENTIALS', `read credentials ${path}: not a JSON object`, { path })
}

function write(path: string, config: ConfigFile): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  let place = path
  try {
    // Whoever keeps the file elsewhere and has a link to it here wants to keep it so.
    place = realpathSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const temporary = `${place}.${process.pid}`
  writeFileSync(temporary, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600, flag: 'wx' })
  renameSync(temporary, place)
}

/** The program that keeps this registry's credential, by its short name; undefined: the file does. */
function helperOf(config: ConfigFile, registry: string): string | undefined {
  for (const key of [registry, ...keysOf(registry)]) {
    const helper = config.credHelpers?.[key]
    if (helper !== undefined) return helper
  }
  return config.credsStore || undefined
}

/** The credential for a registry, or undefined. Throws ImageError CREDENTIALS when a helper fails. */
export async function findCredential(registry: string, path = credentialFile()): Promise<Credential | undefined> {
  const config = read(path)
  const helper = helperOf(config, registry)
  if (helper !== undefined) {
    const answer = await runHelper(helper, 'get', keyOf(registry))
    if (answer !== undefined) return credentialOf(answer, helper)
  }
  for (const key of keysOf(registry)) {
    const entry = config.auths?.[key]
    if (entry === undefined) continue
    if (entry.identitytoken) return { username: '', password: '', identityToken: entry.identitytoken }
    if (entry.auth) {
      const [username = '', ...rest] = Buffer.from(entry.auth, 'base64').toString('utf8').split(':')
      return { username, password: rest.join(':').replace(/\0+$/, '') }
    }
    if (entry.username) return { username: entry.username, password: entry.password ?? '' }
  }
  return undefined
}

/** A helper's answer. The message about a wrong one must not quote it. */
function credentialOf(answer: string, helper: string): Credential {
  let json: { Username?: unknown; Secret?: unknown } | null
  try {
    json = JSON.parse(answer) as typeof json
  } catch {
    json = null
  }
  if (typeof json?.Username !== 'string' || typeof json.Secret !== 'string')
    throw new ImageError(
      'CREDENTIALS',
      `credential helper docker-credential-${helper} get: its answer is no credential`,
    )
  return json.Username === '<token>'
    ? { username: '', password: '', identityToken: json.Secret }
    : { username: json.Username, password: json.Secret }
}

/**
 * Keeps a credential, in the configured helper or in the file (base64, as Docker does). Returns where, in words. Throws
 * ImageError CREDENTIALS.
 */
export async function storeCredential(
  registry: string,
  credential: Credential,
  path = credentialFile(),
): Promise<string> {
  const config = read(path)
  const helper = helperOf(config, registry)
  const key = keyOf(registry)
  if (helper !== undefined) {
    const input = JSON.stringify({ ServerURL: key, Username: credential.username, Secret: credential.password })
    await runHelper(helper, 'store', input)
    // Docker marks so that there is one to ask for; what an older login left in the file goes.
    config.auths = { ...config.auths, [key]: {} }
  } else {
    const auth = Buffer.from(`${credential.username}:${credential.password}`).toString('base64')
    config.auths = { ...config.auths, [key]: { auth } }
  }
  write(path, config)
  return helper === undefined ? path : `docker-credential-${helper}`
}

/** Forgets a registry's credential, in its helper and in the file. False when there was none in either. */
export async function eraseCredential(registry: string, path = credentialFile()): Promise<boolean> {
  const config = read(path)
  const helper = helperOf(config, registry)
  let found = false
  if (helper !== undefined && (await runHelper(helper, 'get', keyOf(registry))) !== undefined) {
    await runHelper(helper, 'erase', keyOf(registry))
    found = true
  }
  const keys = keysOf(registry).filter(key => config.auths?.[key] !== undefined)
  if (keys.length === 0) return found
  config.auths = Object.fromEntries(Object.entries(config.auths ?? {}).filter(([key]) => !keys.includes(key)))
  write(path, config)
  return true
}

/** Output of a helper program; undefined when it says that it has no such credential. */
function runHelper(name: string, verb: 'get' | 'store' | 'erase', input: string): Promise<string | undefined> {
  if (!/^[\w.-]+$/.test(name)) throw new ImageError('CREDENTIALS', `credential helper ${name}: not a program name`)
  return new Promise((resolve, reject) => {
    const child = spawn(`docker-credential-${name}`, [verb], { stdio: ['pipe', 'pipe', 'inherit'] })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')))
    child.on('error', error =>
      reject(new ImageError('CREDENTIALS', `credential helper docker-credential-${name}: ${error.message}`)),
    )
    child.stdin.on('error', () => {})
    child.on('close', code => {
      if (code === 0) resolve(out)
      else if (/credentials not found/i.test(out)) resolve(undefined)
      else
        reject(
          new ImageError(
            'CREDENTIALS',
            `credential helper docker-credential-${name} ${verb}: ${out.trim() || `exit ${code}`}`,
          ),
        )
    })
    child.stdin.end(input)
  })
}
