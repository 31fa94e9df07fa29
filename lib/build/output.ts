/**
 * Owns results that are no image: a tree written into a directory of the host (`--output type=local`), or a tar of it.
 * Formats: `type=local,dest=DIR`, `type=tar,dest=FILE` (`-` is stdout), `type=image`, or just `DIR` / `-`.
 * Invariant: nothing is written outside of the directory, whatever links the tree holds; owners are kept only as root.
 */
import { pipeline } from 'node:stream/promises'
import { createReadStream, createWriteStream, mkdirSync, readSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { bytesOf, textOf } from '../bytes.js'
import { check, E } from '../errno.js'
import { devOf, O, S } from '../sys/constants.js'
import { mkdirat, mknodat, symlinkat, unlinkat } from '../sys/dir.js'
import { close, open, openat, pwriteAll } from '../sys/file.js'
import { chmodat, chownat, utimensat, type Stat } from '../sys/stat.js'
import { setxattrat } from '../sys/xattr.js'
import { BuildError } from './error.js'
import { isDirectory, isFile, isSymlink, join, resolve, type Tree } from './tree.js'

export type Output =
  | { readonly type: 'image' }
  | { readonly type: 'local'; readonly dest: string }
  | { readonly type: 'tar'; readonly dest: string }

/** Reads `--output`. Throws BuildError OUTPUT. */
export function parseOutput(text: string): Output {
  if (!text.includes('=')) return text === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: text }
  const fields = new Map(
    text.split(',').map(field => {
      const equals = field.indexOf('=')
      return equals < 0 ? [field, ''] : [field.slice(0, equals), field.slice(equals + 1)]
    }) as [string, string][],
  )
  const type = fields.get('type')
  const dest = fields.get('dest') ?? ''
  for (const key of fields.keys())
    if (key !== 'type' && key !== 'dest') throw new BuildError('OUTPUT', `--output ${text}: unknown field "${key}"`)
  if (type === 'image') return { type }
  if (type !== 'local' && type !== 'tar')
    throw new BuildError('OUTPUT', `--output ${text}: the type is image, local or tar`)
  if (dest === '' && type === 'local') throw new BuildError('OUTPUT', `--output ${text}: a dest is needed`)
  return { type, dest: dest || '-' }
}

/** Writes what is at `path` of `tree` into the existing directory `to` (text): a directory's contents, or one file. */
export function writeTree(tree: Tree, path: string, to: string): void {
  const at = resolve(tree, bytesOf(path))
  if (at.rest !== '') throw new BuildError('SOURCE', `${path}: no such file or directory`)
  const fd = check(open(bytesOf(to), O.PATH | O.DIRECTORY), 'open', to)
  const writer = new TreeWriter(tree)
  try {
    if (isDirectory(at.stat)) writer.contents(at.path, fd)
    else writer.entry(at.path, at.stat, fd, at.path.split('/').at(-1)!)
  } finally {
    close(fd)
  }
}

const CHUNK = Buffer.allocUnsafe(1 << 20)

class TreeWriter {
  readonly #tree: Tree
  readonly #root = process.getuid?.() === 0

  constructor(tree: Tree) {
    this.#tree = tree
  }

  contents(path: string, fd: number): void {
    for (const name of this.#tree.list(path)) {
      const here = join(path, name)
      const st = this.#tree.stat(here)
      if (st) this.entry(here, st, fd, name)
    }
  }

  entry(path: string, st: Stat, fd: number, name: string): void {
    if (isDirectory(st)) {
      const made = mkdirat(fd, name, 0o700)
      if (made < 0 && made !== -E.EEXIST) check(made, 'mkdir', textOf(path))
      // O_NOFOLLOW: a link that was there before us is not gone through.
      const inner = check(openat(fd, name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW), 'open', textOf(path))
      try {
        this.contents(path, inner)
      } finally {
        close(inner)
      }
    } else {
      unlinkat(fd, name)
      if (isSymlink(st)) check(symlinkat(this.#tree.readlink(path), fd, name), 'symlink', textOf(path))
      else if (isFile(st)) this.#file(path, fd, name)
      else {
        const made = mknodat(fd, name, st.mode, st.rdev)
        // Without privileges devices cannot be made: say so rather than leave them out.
        check(made, 'mknod', textOf(path))
      }
    }
    if (this.#root) check(chownat(fd, name, st.uid, st.gid), 'chown', textOf(path))
    for (const [key, value] of this.#tree.xattrs(path)) {
      const r = setxattrat(fd, name, key, value)
      if (r < 0 && this.#root) check(r, 'setxattr', textOf(path))
    }
    if (!isSymlink(st)) check(chmodat(fd, name, st.mode & 0o7777), 'chmod', textOf(path))
    check(utimensat(fd, name, st.mtime, st.mtimeNs, st.mtime, st.mtimeNs), 'utimens', textOf(path))
  }

  #file(path: string, fd: number, name: string): void {
    const from = this.#tree.open(path)
    const to = openat(fd, name, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, 0o600)
    try {
      check(to, 'open', textOf(path))
      for (let at = 0; ;) {
        const n = readSync(from, CHUNK, 0, CHUNK.length, at)
        if (n === 0) break
        check(pwriteAll(to, CHUNK.subarray(0, n), at), 'write', textOf(path))
        at += n
      }
    } finally {
      close(from)
      if (to >= 0) close(to)
    }
  }
}

/** Writes the whole tree as a tar (pax where needed), parents first, names in byte order: the same tree, the same bytes. */
export async function writeTar(tree: Tree, to: Writable): Promise<void> {
  const { pack } = await import('tar-stream')
  const tar = pack()
  const feed = async (): Promise<void> => {
    const visit = async (path: string): Promise<void> => {
      for (const name of tree.list(path)) {
        const here = join(path, name)
        const st = tree.stat(here)
        if (!st) continue
        await tarEntry(tar, tree, here, st)
        if (isDirectory(st)) await visit(here)
      }
    }
    await visit('')
    tar.finalize()
  }
  await Promise.all([feed(), pipeline(tar, to)])
}

async function tarEntry(tar: import('tar-stream').Pack, tree: Tree, path: string, st: Stat): Promise<void> {
  const type = st.mode & S.IFMT
  const pax: Record<string, string> = {}
  for (const [key, value] of tree.xattrs(path)) pax[`SCHILY.xattr.${key}`] = value.toString('latin1')
  const header = {
    name: isDirectory(st) ? `${textOf(path)}/` : textOf(path),
    mode: st.mode & 0o7777,
    uid: st.uid,
    gid: st.gid,
    mtime: new Date(st.mtime * 1000),
    ...(Object.keys(pax).length > 0 ? { pax } : {}),
  }
  if (type !== S.IFREG) {
    const { major, minor } = devOf(st.rdev)
    const special =
      type === S.IFDIR
        ? { type: 'directory' as const }
        : type === S.IFLNK
          ? { type: 'symlink' as const, linkname: textOf(tree.readlink(path)) }
          : type === S.IFIFO
            ? { type: 'fifo' as const }
            : {
                type: type === S.IFBLK ? ('block-device' as const) : ('character-device' as const),
                devmajor: major,
                devminor: minor,
              }
    tar.entry({ ...header, ...special }, '')
    return
  }
  const entry = tar.entry({ ...header, type: 'file', size: st.size })
  if (st.size === 0) {
    entry.end(Buffer.alloc(0))
    return
  }
  await pipeline(createReadStream('', { fd: tree.open(path), autoClose: true }), entry)
}

/** Writes the result where `output` says. */
export async function writeOutput(
  tree: Tree,
  output: Exclude<Output, { type: 'image' }>,
  stdout: Writable,
): Promise<void> {
  try {
    if (output.type === 'local') {
      mkdirSync(output.dest, { recursive: true })
      writeTree(tree, '/', output.dest)
    } else if (output.dest === '-') await writeTar(tree, stdout)
    else await writeTar(tree, createWriteStream(output.dest))
  } catch (error) {
    if (error instanceof BuildError) throw error
    throw new BuildError('OUTPUT', `write ${output.dest}: ${(error as Error).message}`, { cause: error })
  }
}
