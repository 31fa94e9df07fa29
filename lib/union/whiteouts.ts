/**
 * Owns writing whiteouts in the upper, in the form its filesystem allows (work.ts probes): char device 0:0, all links of one
 * inode; an empty file with `overlay.whiteout` in a directory marked `x`; or a file `.wh.NAME`.
 * Invariant: at no instant does the name show what is below: a whiteout takes the place of a name in one rename.
 */
import { E } from '../errno.js'
import { MARK } from '../layer/whiteout.js'
import { O, RENAME } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { setMark, setXattrWhiteouts } from './marks.js'
import { mutate } from './mutate.js'
import type { Node } from './node.js'
import type { Tree } from './tree.js'

const NOTHING = Buffer.alloc(0)

/** Whites out a name that the upper directory `fd` of `parent` does not have. Returns 0 or `-errno`. */
export function putWhiteout(tree: Tree, parent: Node, fd: number, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  if (work.whiteoutForm === 'device') return work.linkWhiteout(fd, name)
  return replaceWithWhiteout(tree, parent, fd, name)
}

/** Puts a whiteout in place of a non-directory that the upper directory `fd` of `parent` has. Returns 0 or `-errno`. */
export function replaceWithWhiteout(tree: Tree, parent: Node, fd: number, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  if (work.whiteoutForm === 'mark') return markAway(fd, name)
  const temporary = work.name()
  let r = makeWhiteout(tree, parent, fd, temporary)
  if (r < 0) return r
  r = mutate.renameat2(work.fd, temporary, fd, name)
  if (r < 0) work.discard(temporary)
  return r
}

/** Puts a whiteout in place of an upper directory that shows nothing, and removes the directory. */
export function replaceDirectoryWithWhiteout(tree: Tree, parent: Node, fd: number, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const temporary = work.name()
  if (work.whiteoutForm === 'mark') {
    // The mark hides what is below already; the directory itself goes in one rename.
    const r = makeMark(fd, name)
    return r < 0 ? r : moveAway(tree, fd, name, temporary)
  }
  let r = makeWhiteout(tree, parent, fd, temporary)
  if (r < 0) return r
  r = mutate.renameat2(work.fd, temporary, fd, name, RENAME.EXCHANGE)
  work.discard(temporary)
  return r
}

/** Takes a directory that shows nothing (but may hold whiteouts) out of the upper. */
export function moveAway(tree: Tree, fd: number, name: string, temporary: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const r = mutate.renameat2(fd, name, work.fd, temporary)
  if (r >= 0) work.discard(temporary)
  return r
}

/** Removes the whiteout of a name whose place has just been taken in another way (`.wh.` marks stand beside it). */
export function clearMark(tree: Tree, fd: number, name: string): void {
  if (tree.work?.whiteoutForm === 'mark') mutate.unlinkat(fd, MARK + name)
}

/** A whiteout under a temporary name, ready to be renamed into `parent`. */
function makeWhiteout(tree: Tree, parent: Node, fd: number, temporary: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  if (work.whiteoutForm === 'device') return work.makeWhiteout(temporary)
  if (parent.dir !== null && !parent.dir.xattrWhiteouts) {
    const r = setXattrWhiteouts(tree, fd, '')
    if (r < 0) return r
    parent.dir.xattrWhiteouts = true
  }
  const file = mutate.openat(work.fd, temporary, O.CREAT | O.EXCL | O.WRONLY, 0o600)
  if (file < 0) return file
  close(file)
  return setMark(tree, work.fd, temporary, 'whiteout', NOTHING)
}

function markAway(fd: number, name: string): number {
  const r = makeMark(fd, name)
  return r < 0 ? r : mutate.unlinkat(fd, name)
}

function makeMark(fd: number, name: string): number {
  const file = mutate.openat(fd, MARK + name, O.CREAT | O.WRONLY, 0o600)
  if (file < 0) return file
  close(file)
  return 0
}
