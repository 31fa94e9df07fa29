/**
 * Owns what a COPY or ADD takes from a tree: sources with wildcards → a list of entries with the place each goes to,
 * and the digest of that list, which is the cache's idea of "the same files".
 * Formats: paths are byte strings (tree.ts); patterns are text. Entries come parents first, names in byte order.
 * Invariants: a selection never leaves the tree; its digest covers names, types, modes, owners, link targets, kept
 * extended attributes and contents, and no times.
 */
import { createHash } from 'node:crypto'
import { bytesOf, textOf } from '../bytes.js'
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'
import { BuildError } from './error.js'
import { component, ignoreOf, IGNORE_NOTHING, type Ignore } from './ignore.js'
import { clean, isDirectory, isFile, isSymlink, join, nameOf, resolve, type Tree } from './tree.js'

export interface SelectedEntry {
  /** In the source tree. */
  readonly path: string
  readonly stat: Stat
  /** Below the destination; '' is the destination itself. */
  readonly to: string
}

export interface SelectedSource {
  /** As written, for messages. */
  readonly pattern: string
  /** A directory's contents go into the destination; a file goes to the destination or into it. */
  readonly kind: 'file' | 'directory'
  /** The first one is the source itself. For `file` its `to` is the base name. */
  readonly entries: readonly SelectedEntry[]
}

export interface SelectOptions {
  readonly ignore?: Ignore
  readonly exclude?: readonly string[]
  /** Keep the source's directories: `--parents`. */
  readonly parents?: boolean
}

const WILDCARD = /(^|[^\\])[*?[]/

export function hasWildcard(pattern: string): boolean {
  return WILDCARD.test(pattern)
}

/**
 * Finds `pattern` in `tree`. A pattern without wildcards must match: BuildError SOURCE. One with wildcards may match
 * nothing. The last component of a source is followed when it is a symlink; links below it are copied as links.
 */
export function select(tree: Tree, pattern: string, options: SelectOptions = {}): SelectedSource[] {
  const ignore = options.ignore ?? IGNORE_NOTHING
  const exclude = options.exclude && options.exclude.length > 0 ? ignoreOf(options.exclude) : IGNORE_NOTHING
  // `a/./b` with --parents: only what follows the dot is kept.
  const pivot = options.parents ? pattern.lastIndexOf('/./') : -1
  const dropped = pivot < 0 ? '' : clean(bytesOf(pattern.slice(0, pivot)))
  const matches = hasWildcard(pattern) ? glob(tree, pattern, ignore) : [clean(bytesOf(pattern))]
  const found: SelectedSource[] = []
  for (const match of matches) {
    const at = resolve(tree, match)
    const hidden = at.rest === '' && at.path !== '' && ignore.ignores(textOf(at.path))
    if (at.rest !== '' || (hidden && !isDirectory(at.stat)))
      throw new BuildError(
        'SOURCE',
        `copy ${pattern}: ${hidden ? 'it is excluded by the ignore file' : 'no such file or directory'}`,
        {
          context: { path: pattern },
        },
      )
    const kept = options.parents ? below(match, dropped) : ''
    if (isDirectory(at.stat)) {
      const entries: SelectedEntry[] = [{ path: at.path, stat: at.stat, to: kept }]
      walk(tree, at.path, kept, '', ignore, exclude, entries)
      if (hidden && entries.length === 1)
        throw new BuildError('SOURCE', `copy ${pattern}: it is excluded by the ignore file`, {
          context: { path: pattern },
        })
      found.push({ pattern, kind: 'directory', entries })
    } else {
      const name = nameOf(match)
      if (exclude.ignores(textOf(name))) continue
      found.push({
        pattern,
        kind: 'file',
        entries: [{ path: at.path, stat: at.stat, to: options.parents ? kept : name }],
      })
    }
  }
  return found
}

function below(path: string, dropped: string): string {
  if (dropped === '') return path
  return path === dropped ? '' : path.startsWith(`${dropped}/`) ? path.slice(dropped.length + 1) : path
}

function walk(
  tree: Tree,
  path: string,
  to: string,
  relative: string,
  ignore: Ignore,
  exclude: Ignore,
  entries: SelectedEntry[],
): void {
  for (const name of tree.list(path)) {
    const here = join(path, name)
    const inside = join(relative, name)
    const left = ignore !== IGNORE_NOTHING && ignore.ignores(textOf(here))
    const out = exclude !== IGNORE_NOTHING && exclude.ignores(textOf(inside))
    const stat = left || out ? undefined : tree.stat(here)
    if (stat && !isDirectory(stat)) {
      entries.push({ path: here, stat, to: join(to, name) })
      continue
    }
    // A directory left out may hold something taken in again; then it comes along as its parent.
    if (left && ignore.prunes(textOf(here))) continue
    if (out && exclude.prunes(textOf(inside))) continue
    const st = stat ?? tree.stat(here)
    if (!st || !isDirectory(st)) continue
    const before = entries.length
    entries.push({ path: here, stat: st, to: join(to, name) })
    walk(tree, here, join(to, name), inside, ignore, exclude, entries)
    if (!stat && entries.length === before + 1) entries.pop()
  }
}

/** Paths matching a pattern, in byte order. `**` as a whole component is any number of directories. */
function glob(tree: Tree, pattern: string, ignore: Ignore): string[] {
  const found = new Set<string>()
  const visit = (at: string, todo: readonly string[]): void => {
    const [first, ...rest] = todo
    if (first === undefined) {
      if (at !== '') found.add(at)
      return
    }
    if (first !== '**' && !hasWildcard(first)) {
      const next = join(at, bytesOf(first.replace(/\\(.)/g, '$1')))
      if (rest.length > 0 || resolve(tree, next).rest === '') visit(next, rest)
      return
    }
    const directory = resolve(tree, at)
    if (directory.rest !== '' || !isDirectory(directory.stat)) return
    if (first === '**') visit(at, rest)
    for (const name of tree.list(directory.path)) {
      const next = join(at, name)
      const st = tree.stat(join(directory.path, name))
      if (!st) continue
      const hidden = ignore.ignores(textOf(next))
      if (hidden && (!isDirectory(st) || ignore.prunes(textOf(next)))) continue
      if (first === '**') {
        if (isDirectory(st)) visit(next, todo)
      } else if (component(first).test(textOf(name)) && !(hidden && rest.length === 0)) visit(next, rest)
    }
  }
  visit(
    '',
    pattern.split('/').filter(p => p !== '' && p !== '.'),
  )
  return [...found].sort()
}

/** What of an entry's owner counts: the source's own, or one the copy will set anyway. */
export type OwnerKey = (st: Stat) => string

/**
 * sha256 over the sources in order. `owner` says what of uid and gid is kept; a chmod or chown flag belongs into the
 * step's key, not here. Contents come from the tree's digests (cached between builds).
 */
export function digestSelection(tree: Tree, sources: readonly SelectedSource[], owner: OwnerKey): string {
  const hash = createHash('sha256')
  for (const source of sources) {
    hash.update(`${source.kind}\0`)
    for (const entry of source.entries) hash.update(lineOf(tree, entry, owner), 'latin1')
  }
  return hash.digest('hex')
}

/** One entry as a line of a digest, also what `--explain` compares. */
export function lineOf(tree: Tree, entry: SelectedEntry, owner: OwnerKey): string {
  const { path, stat, to } = entry
  const content = isFile(stat)
    ? tree.digest(path, stat)
    : isSymlink(stat)
      ? tree.readlink(path)
      : (stat.mode & S.IFMT) === S.IFCHR || (stat.mode & S.IFMT) === S.IFBLK
        ? String(stat.rdev)
        : ''
  let attributes = ''
  for (const [name, value] of tree.xattrs(path)) attributes += `\0${name}=${value.toString('hex')}`
  // A symlink's own mode means nothing and differs between filesystems.
  const mode = isSymlink(stat) ? S.IFLNK : stat.mode
  return `${to}\0${mode.toString(8)}\0${owner(stat)}\0${content}${attributes}\n`
}
