/**
 * Owns the form of one behaviour to prove: a `Case` says what tree it needs and what must hold there. Cases are run many
 * to a tree, each in a directory of its own.
 */
import type { Test } from 'tap'
import { errnoName } from '../../lib/errno.js'
import { O } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import type { Item } from './population.js'
import type { Layers, Target, Tree } from './target.js'
import type { Vfs } from './vfs.js'

export type { Test }

export interface Context {
  /** The case's own directory. */
  readonly fs: Vfs
  /** That directory's path from the tree's root. */
  readonly base: string
  readonly tree: Tree
  readonly target: Target
  /** Where the case's items were put. */
  readonly place: Place
}

export interface Case {
  readonly title: string
  /** Items that exist at the start, wherever the place puts them … */
  readonly items?: readonly Item[]
  /** … or a tree of given layers, which is run once. */
  readonly layers?: Layers
  /** Only where a kernel makes the calls: permissions, mappings, locks. */
  readonly kernel?: true
  /** Only where there are layers to look at. */
  readonly layered?: true
  /** In one place only: it takes long, and where its items lie makes no difference. */
  readonly once?: true
  /** Fails today on targets that list this difference. */
  readonly difference?: string
  run(t: Test, context: Context): void
}

/**
 * Where items lie: all in the upper; all in one lower; in a lower with its directories in the upper too; in the base of
 * three lowers which all have its directories.
 */
export const places = ['upper', 'lower', 'merged', 'deep'] as const
export type Place = (typeof places)[number] | 'layers'

export function place(items: readonly Item[], where: Place): Layers {
  const directories = items.filter(item => item.type === 'dir')
  switch (where) {
    case 'upper':
      return { lowers: [[]], upper: items }
    case 'lower':
    case 'layers':
      return { lowers: [items] }
    case 'merged':
      return { lowers: [items], upper: directories }
    case 'deep':
      return { lowers: [items, directories, directories] }
  }
}

/** `'OK'`, or the errno's name. */
export function outcome(result: unknown): string {
  return typeof result === 'number' && result < 0 ? errnoName(result) : 'OK'
}

export function ok(t: Test, result: unknown, message: string): void {
  t.equal(outcome(result), 'OK', message)
}

export function fails(t: Test, result: unknown, errno: string, message: string): void {
  t.equal(outcome(result), errno, message)
}

/** stat, which must succeed. */
export function lstat(t: Test, fs: Vfs, path: string): Stat {
  const st = new Stat()
  ok(t, fs.stat(path, st), `stat ${printable(path)}`)
  return st
}

/** The contents of a file by a new open, as latin1 text, or an errno's name. */
export function contents(fs: Vfs, path: string): string {
  const fd = fs.open(path, O.RDONLY)
  if (fd < 0) return errnoName(fd)
  const st = new Stat()
  fs.fstat(fd, st)
  const data = fs.pread(fd, st.size + 1, 0)
  fs.close(fd)
  return typeof data === 'number' ? errnoName(data) : data.toString('latin1')
}

/** Creates or overwrites a file. The errno's name, or `'OK'`. */
export function put(fs: Vfs, path: string, data: string, mode = 0o644): string {
  const fd = fs.open(path, O.CREAT | O.TRUNC | O.WRONLY, mode)
  if (fd < 0) return errnoName(fd)
  const n = data === '' ? 0 : fs.pwrite(fd, Buffer.from(data, 'latin1'), 0)
  fs.close(fd)
  return outcome(n)
}

/** Text that shows any byte string. */
export function printable(bytes: string): string {
  const text = JSON.stringify(bytes)
  return text.length > 60 ? `${text.slice(0, 40)}…(${bytes.length})` : text
}
