/**
 * Owns the encodings of "not here any more" and "nothing from below here", as found in layers at rest:
 *
 * | what | encodings |
 * |---|---|
 * | whiteout of NAME | char device 0:0 called NAME (overlayfs); empty file NAME with `overlay.whiteout` in a directory whose `overlay.opaque` is `x` (overlayfs >= 6.7); any file `.wh.NAME` (AUFS, OCI, fuse-overlayfs) |
 * | opaque directory | `overlay.opaque` = `y` (`trusted.` or `user.`); `user.fuseoverlayfs.opaque` = `y`; a file `.wh..wh..opq` inside |
 *
 * and the bookkeeping attributes beside them, which no user of a merged tree ever sees. A user's own attribute of such a
 * name is kept escaped by one more `overlay.` (Documentation/filesystems/overlayfs.rst, "Nesting overlayfs mounts").
 * Invariant: names beginning with `.wh.` are marks, never files.
 */
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'

export const MARK = '.wh.'
export const OPAQUE_MARK = '.wh..wh..opq'

export const TRUSTED = 'trusted.overlay.'
export const USER = 'user.overlay.'
export const FUSE_OVERLAYFS = 'user.fuseoverlayfs.'

/** What a layer's bookkeeping attributes say about one directory or file. */
export interface Marks {
  /** `y`: nothing from below; `x`: some children are xattr whiteouts. */
  opaque: '' | 'x' | 'y'
  /** Bare names of the overlay attributes present (`redirect`, `origin`, …), in either namespace. */
  readonly names: readonly string[]
}

export const NO_MARKS: Marks = { opaque: '', names: [] }

/** Whether `name` is a mark and not a file of the tree. */
export function isMark(name: string): boolean {
  return name.length >= 4 && name.charCodeAt(0) === 46 && name.startsWith(MARK)
}

/** Whether a stat is a whiteout in its native form: char device 0:0. */
export function isDeviceWhiteout(st: Stat): boolean {
  return (st.mode & S.IFMT) === S.IFCHR && st.rdev === 0
}

/** Turns `st` into the stat of a whiteout, the one form in which layers answer all of them. */
export function asWhiteout(st: Stat): void {
  st.mode = S.IFCHR
  st.rdev = 0
  st.size = 0
}

/** The bare name of an overlay bookkeeping attribute (`redirect` of `trusted.overlay.redirect`), '' of any other. */
export function bareName(xattr: string): string {
  if (xattr.startsWith(TRUSTED)) return escapes(xattr, TRUSTED) ? '' : xattr.slice(TRUSTED.length)
  if (xattr.startsWith(USER)) return escapes(xattr, USER) ? '' : xattr.slice(USER.length)
  return ''
}

function escapes(xattr: string, prefix: string): boolean {
  return xattr.startsWith('overlay.', prefix.length)
}

/**
 * The name under which a user of the merged tree knows attribute `xattr` of a layer: itself, unescaped, or '' when it is
 * bookkeeping.
 */
export function shownName(xattr: string): string {
  // The quick way out for every ordinary name: `t…` and `user.[of]…`.
  const c = xattr.charCodeAt(0)
  if (c !== 116 && c !== 117) return xattr
  for (const prefix of [TRUSTED, USER]) {
    if (!xattr.startsWith(prefix)) continue
    return escapes(xattr, prefix) ? prefix + xattr.slice(prefix.length + 'overlay.'.length) : ''
  }
  return xattr.startsWith(FUSE_OVERLAYFS) || xattr === OVERRIDE_STAT ? '' : xattr
}

/** The name under which a layer keeps what users of the merged tree call `name`; '' for names they cannot have. */
export function storedName(name: string): string {
  const c = name.charCodeAt(0)
  if (c !== 116 && c !== 117) return name
  for (const prefix of [TRUSTED, USER]) {
    if (name.startsWith(prefix)) return `${prefix}overlay.${name.slice(prefix.length)}`
  }
  return name.startsWith(FUSE_OVERLAYFS) || name === OVERRIDE_STAT ? '' : name
}

/** Ownership kept beside a file whose owner could not be set: `UID:GID:MODE` in octal mode (containers/storage). */
export const OVERRIDE_STAT = 'user.containers.override_stat'
