/**
 * Owns turning a metadata-only copy into a whole one. Until then the lower's data counts, whatever the upper file holds.
 * Invariant: at each instant the file has all of its data and its times; a failure gives the space back.
 */
import { E } from '../errno.js'
import { AT, O } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { Stat, statat, UTIME_NOW } from '../sys/stat.js'
import { CAPABILITY } from '../sys/xattr.js'
import { copyData, emptyCopy, fill, resume, setTimes, temporary } from './copy-data.js'
import { PENDING } from './filesystem.js'
import { mutate } from './mutate.js'
import { type Before, extraOf, type Node, Presence } from './node.js'
import type { Tree } from './tree.js'
import { directoryFd, getxattrUpper, listxattrUpper, openUpper, restoreTimes, statUpper } from './upper.js'

const parentSt = new Stat()
const sourceSt = new Stat()

/** Gives a metadata-only copy its data: a whole copy takes its place, or, where it has more names, the data goes into it. */
export function completeData(tree: Tree, node: Node, limit: number): number {
  const running = node.extra?.copy ?? null
  const r = statUpper(tree, node, sourceSt)
  if (r < 0) return r
  const named = node.parent !== null && sourceSt.nlink === 1 && (node.extra === null || node.extra.index === '')
  const inPlace = running === null ? !named : running.name === ''
  return inPlace ? completeInPlace(tree, node, limit) : completeByRename(tree, node, limit)
}

function completeByRename(tree: Tree, node: Node, limit: number): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const size = Math.min(limit, sourceSt.size)
  const fd = size > 0 ? copyData(tree, node, size) : emptyCopy(tree)
  if (fd < 0) return fd
  const name = temporary
  let r = statUpper(tree, node, sourceSt)
  if (r >= 0) r = dressAsUpper(tree, node, fd)
  if (r >= 0) r = setTimes(fd, sourceSt, limit < sourceSt.size)
  close(fd)
  if (r >= 0) r = replaceUpper(tree, node, name)
  if (r >= 0) node.upper = Presence.Full
  else work.discard(name)
  return r
}

/** Puts a finished copy in the place of a node's upper file. Without a name it is kept by an fd, as before. */
function replaceUpper(tree: Tree, node: Node, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  if (node.parent === null) {
    // Its last name went while the data was copied.
    const fd = openat(work.fd, name, O.PATH | O.NOFOLLOW)
    if (fd < 0) return fd
    const extra = extraOf(node)
    if (extra.fd >= 0) close(extra.fd)
    extra.fd = fd
    return mutate.unlinkat(work.fd, name)
  }
  const to = directoryFd(tree, node.parent)
  if (to < 0) return to
  let r = statat(to, '', parentSt, AT.EMPTY_PATH)
  if (r >= 0) r = tree.owed?.owe(node.parent, parentSt) ?? 0
  if (r >= 0) r = mutate.renameat2(work.fd, name, to, node.name)
  if (r >= 0) restoreTimes(tree, node.parent, parentSt)
  return r
}

/** Owner, attributes (but those that make a metadata copy) and mode of a node's upper inode onto a file. */
function dressAsUpper(tree: Tree, node: Node, fd: number): number {
  let r = mutate.chownat(fd, '', sourceSt.uid, sourceSt.gid, AT.EMPTY_PATH)
  // Where owners are kept in an attribute, it comes with the attributes.
  if (r < 0 && (tree.work === null || tree.work.owners)) return r
  const names = listxattrUpper(tree, node)
  if (typeof names === 'number') return names
  for (let i = 0; i < names.length && r >= 0; i++) {
    const name = names[i] as string
    if (name.endsWith('.overlay.metacopy') || name.endsWith('.overlay.redirect')) continue
    const value = getxattrUpper(tree, node, name)
    if (typeof value !== 'number') r = mutate.fsetxattr(fd, name, value)
  }
  return r < 0 ? r : mutate.fchmod(fd, sourceSt.mode & 0o7777)
}

/**
 * Puts the data into a metadata-only copy: until its mark is removed the lower's data counts. A file that is to be cut
 * shorter is, before the mark goes: then its data is the lower's as far as it reaches.
 */
function completeInPlace(tree: Tree, node: Node, limit: number): number {
  const running = node.extra?.copy ?? null
  let r: number
  let to: number
  let before: Before
  if (running !== null) {
    to = resume(tree, node, running)
    if (to === PENDING) return to
    before = running.before ?? beforeOf(tree, node)
    if (to < 0) return to
    r = 0
  } else {
    before = beforeOf(tree, node)
    to = openUpper(tree, node, O.RDWR)
    if (to < 0) return to
    r = limit <= 0 ? 0 : fill(tree, node, to, Math.min(limit, before.size))
    if (r === PENDING) {
      const { extra } = node
      if (extra !== null && extra.copy !== null) extra.copy.before = before
      return r
    }
  }
  if (r >= 0 && limit < before.size) r = mutate.ftruncate(to, limit)
  if (r >= 0 && before.capability !== null) r = mutate.fsetxattr(to, CAPABILITY, before.capability)
  const mtimeNs = limit < before.size ? UTIME_NOW : before.mtimeNs
  if (r >= 0) r = mutate.futimens(to, before.atime, before.atimeNs, before.mtime, mtimeNs)
  if (r >= 0) r = mutate.fremovexattr(to, `${tree.xattrPrefix}metacopy`)
  if (r >= 0) node.upper = Presence.Full
  else empty(to, before)
  close(to)
  return r < 0 ? r : 0
}

/** What filling a file with its data would lose. */
function beforeOf(tree: Tree, node: Node): Before {
  const st = sourceSt
  statUpper(tree, node, st)
  const capability = getxattrUpper(tree, node, CAPABILITY)
  return {
    size: st.size,
    atime: st.atime,
    atimeNs: st.atimeNs,
    mtime: st.mtime,
    mtimeNs: st.mtimeNs,
    capability: typeof capability === 'number' ? null : capability,
  }
}

/** A copy that failed (no space, say) gives its space back. The mark is still there: the lower's data counts. */
function empty(to: number, before: Before): void {
  mutate.ftruncate(to, 0)
  mutate.ftruncate(to, before.size)
  mutate.futimens(to, before.atime, before.atimeNs, before.mtime, before.mtimeNs)
}
