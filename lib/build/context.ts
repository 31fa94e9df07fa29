/**
 * Owns where a build's files come from: a directory, a tar (file or stdin), a git repository or URL, or nothing but a
 * Dockerfile on stdin; and which Dockerfile and ignore file count.
 * Invariant: an archive's files never touch the host's filesystem outside of the store: they become objects.
 */
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, join, resolve as resolvePath } from 'node:path'
import { bytesOf } from '../bytes.js'
import { peek } from '../image/inflate.js'
import { ARCHIVE_HEAD, archiveKind } from './archive.js'
import { parseDockerfile } from './dockerfile.js'
import { FileDigestCache } from './digest-cache.js'
import { BuildError } from './error.js'
import { isGit, isUrl, openGit, openUrl } from './fetch.js'
import { ignoreOf, ignorePatterns, IGNORE_NOTHING, readIgnore, type Ignore } from './ignore.js'
import type { Dockerfile } from './instruction.js'
import { EmptyTree, MemoryTree } from './layer-tree.js'
import type { BuildStore } from './store.js'
import { DirectoryTree, isFile, resolve, type Tree } from './tree.js'

export interface OpenedContext {
  readonly tree: Tree
  readonly ignore: Ignore
  readonly file: Dockerfile
  /** Saves what was learned about the files, closes everything. */
  close(): void
}

export interface ContextOptions {
  /** Directory, tar file, URL, or `-` for stdin. */
  readonly context: string
  /** `--file`: path (relative to the caller's directory, or inside a remote context), `-` for stdin. */
  readonly file: string | undefined
  readonly stdin: AsyncIterable<Uint8Array>
  readonly store: BuildStore
  readonly signal: AbortSignal
}

const NAMES = ['Dockerfile', 'Containerfile']

/** Opens context and Dockerfile. Throws BuildError CONTEXT, IGNORE, FETCH and those of the language. */
export async function openContext(options: ContextOptions): Promise<OpenedContext> {
  const { context, file, stdin, store } = options
  if (context === '-') {
    if (file === '-') throw new BuildError('CONTEXT', 'context and Dockerfile cannot both come from standard input')
    return fromStream(stdin, 'standard input', options)
  }
  if (isGit(context) || isUrl(context)) return fromRemote(options)
  let directory: string
  try {
    directory = realpathSync(context)
    if (statSync(directory).isFile()) return await fromStream(createReadStream(directory), context, options)
  } catch (error) {
    if (error instanceof BuildError || (error as { code?: string }).code === undefined) throw error
    if (!/^E[A-Z]+$/.test((error as { code: string }).code)) throw error
    throw new BuildError('CONTEXT', `open context ${context}: ${(error as Error).message}`, { cause: error })
  }
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 32)
  const digests = new FileDigestCache(join(store.state, 'contexts', name))
  const { text, path, shown } =
    file === '-' ? { text: await textOf(stdin), path: undefined, shown: '-' } : dockerfileIn(directory, file)
  const tree = new DirectoryTree(directory, digests)
  try {
    return {
      tree,
      ignore: readIgnore(directory, path),
      file: parse(text, shown),
      close: () => {
        digests.save()
        tree.close()
      },
    }
  } catch (error) {
    tree.close()
    throw error
  }
}

function dockerfileIn(directory: string, file: string | undefined): { text: string; path: string; shown: string } {
  const candidates = file === undefined ? NAMES.map(name => join(directory, name)) : [resolvePath(file)]
  for (const path of candidates) {
    try {
      return { text: readFileSync(path, 'utf8'), path, shown: file ?? basename(path) }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' && file === undefined) continue
      throw new BuildError('CONTEXT', `read ${file ?? path}: ${code ?? String(error)}`, { cause: error })
    }
  }
  throw new BuildError('CONTEXT', `read Dockerfile: ${directory} has none (name another with --file)`)
}

/** An error of the language carries the text it is about. */
function parse(text: string, name: string): Dockerfile {
  try {
    return parseDockerfile(text, name)
  } catch (error) {
    if (error instanceof BuildError) texts.set(error, text)
    throw error
  }
}

const texts = new WeakMap<BuildError, string>()

/** The text of a Dockerfile that could not be parsed. */
export function textOfFailed(error: BuildError): string | undefined {
  return texts.get(error)
}

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

/** A tar with a Dockerfile in it, or a Dockerfile with no context at all. */
async function fromStream(
  source: AsyncIterable<Uint8Array>,
  name: string,
  options: ContextOptions,
): Promise<OpenedContext> {
  const { head, all } = await peek(source as AsyncIterable<Buffer>, ARCHIVE_HEAD)
  if (archiveKind(head) === undefined) {
    const file = parse(await textOf(all), name === 'standard input' ? '-' : name)
    const tree = new EmptyTree()
    return { tree, ignore: IGNORE_NOTHING, file, close: () => tree.close() }
  }
  const { store } = options
  const root = await store.readArchive(all)
  return inTree(new MemoryTree(root, hex => store.openObject(hex)), name, options, () => {})
}

async function fromRemote(options: ContextOptions): Promise<OpenedContext> {
  const { context, store, signal } = options
  const common = { scratch: store.scratch, checksum: undefined, signal }
  if (!isGit(context)) {
    const remote = await openUrl(context, common)
    try {
      const got = await remote.get()
      if (got.kind !== 'file') throw new BuildError('CONTEXT', `open context ${context}: it is no file`)
      return await fromStream(createReadStream(got.file), context, options)
    } finally {
      remote.dispose()
    }
  }
  const remote = await openGit(context, { ...common, keepGitDir: false })
  try {
    const got = await remote.get()
    if (got.kind !== 'tree') throw new BuildError('CONTEXT', `open context ${context}: it is no repository`)
    const tree = got.path === '/' ? got.tree : new SubTree(got.tree, got.path)
    return inTree(tree, context, options, () => remote.dispose())
  } catch (error) {
    remote.dispose()
    throw error
  }
}

/** Dockerfile and ignore file come out of the tree itself. */
async function inTree(tree: Tree, name: string, options: ContextOptions, dispose: () => void): Promise<OpenedContext> {
  const read = (path: string): string | undefined => {
    const at = resolve(tree, bytesOf(path))
    if (at.rest !== '' || !isFile(at.stat)) return undefined
    return readFileSync(tree.open(at.path), 'utf8')
  }
  const wanted = options.file === undefined ? NAMES : [options.file]
  const fromStdin = options.file === '-'
  const found = fromStdin ? '-' : wanted.find(path => read(path) !== undefined)
  if (found === undefined) throw new BuildError('CONTEXT', `read ${wanted[0]}: it is not in ${name}`)
  const text = fromStdin ? await textOf(options.stdin) : read(found)!
  const ignore = read(`${found}.dockerignore`) ?? read('.dockerignore')
  return {
    tree,
    ignore: ignore === undefined ? IGNORE_NOTHING : ignoreOf(ignorePatterns(ignore)),
    file: parse(text, found),
    close: () => {
      tree.close()
      dispose()
    },
  }
}

/** A directory of a tree as a tree of its own. */
class SubTree implements Tree {
  readonly #tree: Tree
  readonly #prefix: string

  /** Throws BuildError CONTEXT when there is no such directory. */
  constructor(tree: Tree, path: string) {
    const at = resolve(tree, bytesOf(path))
    if (at.rest !== '') throw new BuildError('CONTEXT', `open context: there is no directory ${path}`)
    this.#tree = tree
    this.#prefix = at.path
  }
  #at(path: string): string {
    return path === '' ? this.#prefix : `${this.#prefix}/${path}`
  }
  stat: Tree['stat'] = path => this.#tree.stat(this.#at(path))
  list: Tree['list'] = path => this.#tree.list(this.#at(path))
  readlink: Tree['readlink'] = path => this.#tree.readlink(this.#at(path))
  open: Tree['open'] = path => this.#tree.open(this.#at(path))
  digest: Tree['digest'] = (path, st) => this.#tree.digest(this.#at(path), st)
  xattrs: Tree['xattrs'] = path => this.#tree.xattrs(this.#at(path))
  close(): void {
    this.#tree.close()
  }
}
