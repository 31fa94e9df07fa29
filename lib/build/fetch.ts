/**
 * Owns what ADD and a remote context fetch: http(s) URLs and git repositories.
 * Formats: `https://host/path/file`; `https://….git#ref:subdir`, `git@host:path.git#…`, `ssh://`, `git://`.
 * Invariants: nothing is fetched when `--checksum` names content the cache knows; what was fetched is only handed on
 * after its checksum was compared; scratch files are gone after `dispose`.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, openSync, closeSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { BuildError } from './error.js'
import { IGNORE_NOTHING, ignoreOf, type Ignore } from './ignore.js'
import type { ObjectSink } from './store.js'
import { DirectoryTree, type Tree } from './tree.js'

export interface RemoteOptions {
  readonly scratch: string
  readonly checksum: string | undefined
  readonly signal: AbortSignal
}

export type Fetched =
  | {
      readonly kind: 'file'
      readonly url: string
      /** Base name in the URL, '' when there is none. */
      readonly name: string
      readonly file: string
      readonly mtime: number
      store(sink: ObjectSink): { object: string; size: number }
    }
  | { readonly kind: 'tree'; readonly tree: Tree; readonly path: string; readonly ignore: Ignore }

export interface Remote {
  /** What of it belongs into the cache key: changes when the content does. */
  readonly key: string
  get(): Promise<Fetched>
  dispose(): void
}

export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text)
}

export function isGit(text: string): boolean {
  if (/^(git|ssh):\/\//i.test(text) || /^git@[^/:]+:/.test(text)) return true
  return isUrl(text) && /\.git(#.*)?$/.test(text)
}

/** With a checksum: fetched only when the step runs. Without: `key` needs the content, so `get` has been called by then. */
export async function openUrl(url: string, options: RemoteOptions): Promise<Remote> {
  const remote = new UrlRemote(url, options)
  if (options.checksum === undefined) await remote.get()
  return remote
}

class UrlRemote implements Remote {
  readonly #url: string
  readonly #options: RemoteOptions
  #directory: string | undefined
  #fetched: Promise<Fetched & { kind: 'file' }> | undefined
  #digest = ''

  constructor(url: string, options: RemoteOptions) {
    this.#url = url
    this.#options = options
  }

  get key(): string {
    return `url ${this.#url} ${this.#options.checksum ?? `sha256:${this.#digest}`}`
  }

  get(): Promise<Fetched & { kind: 'file' }> {
    return (this.#fetched ??= this.#fetch())
  }

  dispose(): void {
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true, force: true })
  }

  async #fetch(): Promise<Fetched & { kind: 'file' }> {
    const { scratch, checksum, signal } = this.#options
    let response: Response
    try {
      response = await fetch(this.#url, { signal, redirect: 'follow' })
    } catch (error) {
      const cause = (error as { cause?: Error }).cause?.message ?? (error as Error).message
      throw new BuildError('FETCH', `fetch ${this.#url}: ${cause}`, { cause: error })
    }
    if (!response.ok || !response.body) {
      await response.body?.cancel()
      throw new BuildError('FETCH', `fetch ${this.#url}: the server answered ${response.status} ${response.statusText}`)
    }
    mkdirSync(scratch, { recursive: true })
    this.#directory = mkdtempSync(join(scratch, 'fetch-'))
    const file = join(this.#directory, 'content')
    const hash = createHash('sha256')
    const fd = openSync(file, 'wx+', 0o600)
    let size = 0
    try {
      for await (const chunk of response.body) {
        const bytes = chunk as Uint8Array
        hash.update(bytes)
        for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
        size += bytes.length
      }
    } catch (error) {
      throw new BuildError('FETCH', `fetch ${this.#url}: it broke off after ${size} bytes`, { cause: error })
    } finally {
      closeSync(fd)
    }
    this.#digest = hash.digest('hex')
    if (checksum !== undefined && checksum !== `sha256:${this.#digest}`)
      throw new BuildError('CHECKSUM', `fetch ${this.#url}: it is sha256:${this.#digest}, not ${checksum}`, {
        context: { digest: `sha256:${this.#digest}` },
      })
    const modified = Date.parse(response.headers.get('last-modified') ?? '')
    const digest = this.#digest
    return {
      kind: 'file',
      url: this.#url,
      name: decodeURIComponent(new URL(this.#url).pathname.split('/').at(-1) ?? ''),
      file,
      mtime: Number.isNaN(modified) ? 0 : Math.floor(modified / 1000),
      store: sink => ({ object: sink.putFile(openSync(file, 'r'), size, digest), size }),
    }
  }
}

/** `url#ref:subdir` taken apart. */
export function parseGit(text: string): { url: string; ref: string; directory: string } {
  const [url = '', fragment = ''] = text.split('#', 2)
  const colon = fragment.indexOf(':')
  const ref = colon < 0 ? fragment : fragment.slice(0, colon)
  const directory = colon < 0 ? '' : fragment.slice(colon + 1)
  if (ref.startsWith('-') || url.startsWith('-')) throw new BuildError('FETCH', `git ${text}: malformed`)
  return { url, ref: ref || 'HEAD', directory }
}

const run = promisify(execFile)

async function git(args: readonly string[], signal: AbortSignal, cwd: string): Promise<string> {
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? '/',
    SSH_AUTH_SOCK: process.env['SSH_AUTH_SOCK'] ?? '',
    GIT_TERMINAL_PROMPT: '0',
    // Only what a build may fetch from: no file, no ext.
    GIT_ALLOW_PROTOCOL: 'http:https:git:ssh',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_LFS_SKIP_SMUDGE: '1',
  }
  try {
    const { stdout } = await run(
      'git',
      ['-c', 'core.hooksPath=/dev/null', '-c', 'advice.detachedHead=false', ...args],
      {
        cwd,
        env,
        signal,
        maxBuffer: 64 << 20,
      },
    )
    return stdout
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: string }
    const why = code === 'ENOENT' ? 'git is not installed on this machine' : (stderr ?? '').trim().split('\n').at(-1)
    throw new BuildError('FETCH', `git ${args[0]}: ${why || (error as Error).message}`, { cause: error })
  }
}

/** Finds out which commit is meant (no clone); the clone happens in `get`. */
export async function openGit(text: string, options: RemoteOptions & { keepGitDir: boolean }): Promise<Remote> {
  const { url, ref, directory } = parseGit(text)
  const { scratch, checksum, signal, keepGitDir } = options
  mkdirSync(scratch, { recursive: true })
  const commit = await resolveRef(url, ref, signal, scratch)
  if (checksum !== undefined && !commit.startsWith(checksum))
    throw new BuildError('CHECKSUM', `git ${url}#${ref}: it is commit ${commit}, not ${checksum}`)
  let clone: string | undefined
  let tree: Tree | undefined
  return {
    key: `git ${url} ${commit} ${directory} ${keepGitDir}`,
    get: async () => {
      clone = mkdtempSync(join(scratch, 'git-'))
      await git(['init', '-q', '.'], signal, clone)
      const wanted = ref === 'HEAD' || /^[0-9a-f]{40}$/.test(ref) ? commit : ref
      const fetchArgs = (depth: string[]): string[] => ['fetch', '-q', ...depth, url, wanted]
      try {
        await git(fetchArgs(['--depth=1']), signal, clone)
      } catch (error) {
        // A repository served as plain files knows no shallow clones, and gives whole branches only.
        if (!/shallow/.test((error as Error).message)) throw error
        await git(fetchArgs([]), signal, clone)
      }
      await git(['checkout', '-q', '--force', 'FETCH_HEAD'], signal, clone)
      const got = (await git(['rev-parse', 'HEAD'], signal, clone)).trim()
      if (got !== commit)
        throw new BuildError('FETCH', `git ${url}#${ref}: it moved from ${commit} to ${got} meanwhile`)
      await git(['submodule', '-q', 'update', '--init', '--recursive', '--depth=1'], signal, clone)
      if (!keepGitDir) rmSync(join(clone, '.git'), { recursive: true, force: true })
      tree = new DirectoryTree(clone)
      return { kind: 'tree', tree, path: directory || '/', ignore: keepGitDir ? IGNORE_NOTHING : ignoreOf(['**/.git']) }
    },
    dispose: () => {
      tree?.close()
      if (clone !== undefined) rmSync(clone, { recursive: true, force: true })
    },
  }
}

async function resolveRef(url: string, ref: string, signal: AbortSignal, cwd: string): Promise<string> {
  if (/^[0-9a-f]{40}$/.test(ref)) return ref
  const listed = await git(['ls-remote', url, ref, `${ref}^{}`], signal, cwd)
  const lines = listed
    .split('\n')
    .filter(Boolean)
    .map(line => line.split('\t') as [string, string])
  // An annotated tag's commit is under `^{}`.
  const found =
    lines.find(([, name]) => name === `refs/tags/${ref}^{}`) ??
    lines.find(([, name]) => name === ref || name === `refs/heads/${ref}` || name === `refs/tags/${ref}`) ??
    lines[0]
  if (!found) throw new BuildError('FETCH', `git ${url}: there is no ref "${ref}"`)
  return found[0]
}
