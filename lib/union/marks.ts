/**
 * Owns overlayfs's bookkeeping attributes on the upper: reading what anybody wrote (either namespace), writing ours.
 *
 * | attribute | value | on | meaning |
 * |---|---|---|---|
 * | opaque | `y`, `x` | directory | nothing from below; some children are xattr whiteouts |
 * | redirect | `/a/b` or `name` | directory, metacopy file | where the lowers have it |
 * | metacopy | empty, or digest header | file | the data is the lower's |
 * | origin | file handle (origin.ts) | copied up | where the inode number comes from |
 * | impure | `y` | directory | has children with an origin |
 * | protattr | `a`, `i` | file, directory | append-only, immutable (protect.ts) |
 * | nlink | `U+1`, `L-1` | indexed file | how many names the union has |
 * | lamina | decimal | copied up | the inode number shown, where the layer has no file handles |
 */
import { E } from '../errno.js'
import { S } from '../sys/constants.js'
import { getxattrat, getxattrSizeAt, listxattrat } from '../sys/xattr.js'
import { bareName, FUSE_OVERLAYFS, isDeviceWhiteout, TRUSTED, USER } from '../layer/whiteout.js'
import { statat, Stat } from '../sys/stat.js'
import { OPAQUE_MARK } from '../layer/whiteout.js'
import { keptAside } from './aside.js'
import { mutate } from './mutate.js'
import type { Node } from './node.js'
import { parseProtection } from './protect.js'
import type { Tree } from './tree.js'

const YES = Buffer.from('y')
const X = Buffer.from('x')

/** What an upper directory says of itself. */
export interface DirectoryMarks {
  opaque: boolean
  xattrWhiteouts: boolean
  impure: boolean
  redirect: string | null
  protect: number
}

/** Reads the marks of the upper directory `fd` (O_PATH will do): one call when it has no attributes at all. */
export function readDirectoryMarks(fd: number, st: Stat): DirectoryMarks {
  const marks: DirectoryMarks = { opaque: false, xattrWhiteouts: false, impure: false, redirect: null, protect: 0 }
  const all = listxattrat(fd, '')
  if (typeof all !== 'number') {
    for (const name of all) {
      const bare = bareName(name)
      if (bare === 'opaque' || name === `${FUSE_OVERLAYFS}opaque`) {
        const value = text(getxattrat(fd, '', name))
        if (value === 'y') marks.opaque = true
        else if (value === 'x') marks.xattrWhiteouts = true
      } else if (bare === 'impure') marks.impure = true
      else if (bare === 'protattr') marks.protect = parseProtection(text(getxattrat(fd, '', name)))
      else if (bare === 'redirect') marks.redirect = validRedirect(text(getxattrat(fd, '', name)))
    }
  }
  if (!marks.opaque && statat(fd, OPAQUE_MARK, st) === 0) marks.opaque = true
  return marks
}

/** A redirect that names something below the root: an absolute path without `..`, or one name. Anything else is null. */
export function validRedirect(value: string): string | null {
  if (value === '') return null
  const parts = value.split('/')
  if (value.startsWith('/')) parts.shift()
  else if (parts.length !== 1) return null
  for (const part of parts) if (part === '' || part === '.' || part === '..') return null
  return value
}

/** An overlay attribute of `name` below `fd`, in either namespace; undefined when there is none. */
export function readMark(tree: Tree, fd: number, name: string, bare: string): Buffer | undefined {
  const value = getxattrat(fd, name, tree.xattrPrefix + bare)
  if (typeof value !== 'number') return value
  const other = getxattrat(fd, name, (tree.xattrPrefix === TRUSTED ? USER : TRUSTED) + bare)
  if (typeof other !== 'number') return other
  const aside = getAside(tree, fd, name, tree.xattrPrefix + bare)
  return typeof aside === 'number' ? undefined : aside
}

export function text(value: Buffer | number): string {
  return typeof value === 'number' ? '' : value.latin1Slice()
}

export function setMark(tree: Tree, fd: number, name: string, bare: string, value: Buffer): number {
  return setOrAside(tree, fd, name, tree.xattrPrefix + bare, value)
}

const asideSt = new Stat()

/** Sets a `user.` attribute of an upper inode, aside if it is of a type that takes none. Returns 0 or `-errno`. */
export function setOrAside(tree: Tree, fd: number, name: string, attribute: string, value: Buffer): number {
  const r = mutate.setxattrat(fd, name, attribute, value)
  const aside = tree.work?.aside ?? null
  if (r !== -E.EPERM || aside === null) return r
  const s = statat(fd, name, asideSt)
  return s < 0 ? s : keptAside(asideSt.mode) ? aside.set(asideSt, attribute, value) : r
}

/** What is kept aside of `name` below `fd`, or `-ENODATA`. */
function getAside(tree: Tree, fd: number, name: string, attribute: string): Buffer | number {
  const aside = tree.work?.aside ?? null
  if (aside === null || statat(fd, name, asideSt) < 0 || !keptAside(asideSt.mode)) return -E.ENODATA
  return aside.get(asideSt, attribute)
}

export function setOpaque(tree: Tree, fd: number, name: string): number {
  return setMark(tree, fd, name, 'opaque', YES)
}

export function setXattrWhiteouts(tree: Tree, fd: number, name: string): number {
  return setMark(tree, fd, name, 'opaque', X)
}

export function setImpure(tree: Tree, fd: number, name: string): number {
  return setMark(tree, fd, name, 'impure', YES)
}

export function setRedirect(tree: Tree, fd: number, name: string, to: string): number {
  return setMark(tree, fd, name, 'redirect', Buffer.from(to, 'latin1'))
}

/** Whether the name is whiteout'd in the upper directory `fd`, by whichever form; `st` is the name's stat. */
export function isUpperWhiteout(parent: Node, fd: number, name: string, st: Stat): boolean {
  if (isDeviceWhiteout(st)) return true
  if (parent.dir?.xattrWhiteouts !== true || st.size !== 0 || (st.mode & S.IFMT) !== S.IFREG) return false
  return (
    getxattrSizeAt(fd, name, 'trusted.overlay.whiteout') >= 0 || getxattrSizeAt(fd, name, 'user.overlay.whiteout') >= 0
  )
}
