/**
 * Owns the change model: what can be said about one path of two trees. Everything that compares (diff, commit, build,
 * layers, explore) speaks in these terms.
 * Formats: paths are absolute byte strings (`/a/b`), the root is `/`; sizes bytes; times seconds and nanoseconds.
 * Invariant: a list of changes is sorted by path in byte order, holds each path at most once, and parents come before
 * their children.
 */
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'

/** What is compared and shown of one object. `size` is of the data (regular file) or of the target (symlink), else 0. */
export interface Attributes {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly mtime: number
  readonly mtimeNs: number
  readonly rdev: number
  /** Identity for hard links: objects with equal `fsid` and `ino`, and nlink > 1, are one file. */
  readonly fsid: number
  readonly ino: number
  readonly nlink: number
}

/** What differs between two objects at one path. `type` and `content` are never both said. */
export type Aspect = 'type' | 'content' | 'mode' | 'owner' | 'time' | 'xattr'

/**
 * One change.
 * - `added`: the path is new. Children of an added directory are listed too.
 * - `modified`: both sides have it and `aspects` (never empty) say what differs. When the type changed away from a
 *   directory, what was below it is gone and is not listed.
 * - `removed`: the path is gone, with everything below it; only the top is listed.
 * - `replaced`: a directory stands where another directory stood, hiding all that was below it (an opaque mark). What
 *   of it survived under the same name is compared as usual and the rest is listed as `removed`. `aspects` may be empty.
 * - `renamed`: the directory (or file) has moved here from `from`, said by a redirect; children that differ from those
 *   at `from` are listed under the new path. Only where renames were asked for; elsewhere it is `added` with children.
 */
export type Change =
  | { readonly kind: 'added'; readonly path: string; readonly after: Attributes }
  | {
      readonly kind: 'modified'
      readonly path: string
      readonly aspects: readonly Aspect[]
      readonly before: Attributes
      readonly after: Attributes
      /** The name itself was not touched: it is a hard link to this path, and changed with it. */
      readonly linkTo?: string
    }
  | { readonly kind: 'removed'; readonly path: string; readonly before: Attributes }
  | {
      readonly kind: 'replaced'
      readonly path: string
      readonly aspects: readonly Aspect[]
      readonly before: Attributes
      readonly after: Attributes
    }
  | {
      readonly kind: 'renamed'
      readonly path: string
      readonly from: string
      readonly aspects: readonly Aspect[]
      readonly before: Attributes
      readonly after: Attributes
    }

export type ChangeKind = Change['kind']

/** The coarse word for a modification: what it would cost to ship it. */
export function modification(aspects: readonly Aspect[]): 'type' | 'content' | 'metadata' {
  if (aspects.includes('type')) return 'type'
  return aspects.includes('content') ? 'content' : 'metadata'
}

export const isDirectory = (a: { readonly mode: number }): boolean => (a.mode & S.IFMT) === S.IFDIR
export const isRegular = (a: { readonly mode: number }): boolean => (a.mode & S.IFMT) === S.IFREG
export const isSymlink = (a: { readonly mode: number }): boolean => (a.mode & S.IFMT) === S.IFLNK

/** Copies what the model keeps out of a reusable `Stat`. */
export function attributesOf(st: Stat, fsid: number): Attributes {
  const type = st.mode & S.IFMT
  return {
    mode: st.mode,
    uid: st.uid,
    gid: st.gid,
    size: type === S.IFREG || type === S.IFLNK ? st.size : 0,
    mtime: st.mtime,
    mtimeNs: st.mtimeNs,
    rdev: type === S.IFCHR || type === S.IFBLK ? st.rdev : 0,
    fsid,
    ino: st.ino,
    nlink: st.nlink,
  }
}

/** Names one inode among all layers: equal for hard links. */
export function inodeOf(a: { readonly fsid: number; readonly ino: number }): string {
  return `${a.fsid}:${a.ino}`
}

/** `dir` + `/` + `name`, with no doubled slash at the root. */
export function childPath(dir: string, name: string): string {
  return dir === '/' ? `/${name}` : `${dir}/${name}`
}

/** The directory a path lies in; the root's is the root. */
export function parentPath(path: string): string {
  const at = path.lastIndexOf('/')
  return at <= 0 ? '/' : path.slice(0, at)
}

/** Byte order, the order of every list of changes. */
export function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0
}
