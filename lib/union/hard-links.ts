/**
 * Owns hard links across copy-up: the index. A lower file with several names is copied up once, into `W/index`, under the
 * hexadecimal form of its origin; each of its names that is copied up is a link to that inode. A lower name that is not
 * copied up still finds the inode, by its origin.
 * The union's link count is the upper's plus an offset (for the index entry itself and for names not copied up), kept in
 * `overlay.nlink`: `U±n` relative to the upper's count, or `L±n` to the lower's. Before a change that leaves the union's
 * count alone the `L` form is written, before one that changes both the `U` form, so a crash in between counts right.
 * Invariant: an indexed inode has an index entry as long as the union has a name for it.
 */
import { E } from '../errno.js'
import { S } from '../sys/constants.js'
import { statat } from '../sys/stat.js'
import { getxattrSizeAt } from '../sys/xattr.js'
import { noteCopiedUp } from './listing.js'
import { readMark, setMark, text } from './marks.js'
import { mutate } from './mutate.js'
import { extraOf, type Node, Presence } from './node.js'
import { lowerPath } from './redirect.js'
import type { Tree } from './tree.js'
import { directoryFd } from './upper.js'

/** The name in the index of a lower object. */
function indexName(tree: Tree, layer: number, node: Node): string {
  const origin = tree.origins.encode(layer, node.lower)
  return origin === undefined ? `l${node.ino}` : origin.toString('hex')
}

/**
 * Connects a node with several links to its index entry, if there is one: found by the lower it comes from (`fd` < 0), or
 * by the origin of the upper inode called `name` below `fd`.
 */
export function lookupIndexed(tree: Tree, node: Node, fd: number, name: string): void {
  const work = tree.work
  if (work === null || work.indexFd < 0) return
  let index: string
  if (fd < 0) index = indexName(tree, node.layer, node)
  else {
    const origin = readMark(tree, fd, name, 'origin')
    index = origin !== undefined ? origin.toString('hex') : readMark(tree, fd, name, 'lamina') ? `l${node.ino}` : ''
  }
  if (index === '' || statat(work.indexFd, index, tree.st2) < 0) return
  if ((tree.st2.mode & S.IFMT) !== node.type) return
  const upperNlink = tree.st2.nlink
  const extra = extraOf(node)
  extra.index = index
  if (node.upper === Presence.None) {
    node.upper = Presence.Full
    if (node.type === S.IFREG && getxattrSizeAt(work.indexFd, index, `${tree.xattrPrefix}metacopy`) >= 0) {
      node.upper = Presence.Meta
    }
  }
  extra.nlinkOffset = readOffset(tree, node, index, upperNlink)
}

function readOffset(tree: Tree, node: Node, index: string, upperNlink: number): number {
  const value = text(readMark(tree, tree.work?.indexFd ?? -1, index, 'nlink') ?? 0)
  const offset = Number(value.slice(1))
  if (value.startsWith('U') && Number.isSafeInteger(offset)) return offset
  // Left by a crash between the two forms.
  const lowerNlink = lowerCount(tree, node, index)
  if (value.startsWith('L') && Number.isSafeInteger(offset) && lowerNlink > 0) return lowerNlink + offset - upperNlink
  return -1
}

/** How many names the lower file has; 0 when it cannot be found. */
function lowerCount(tree: Tree, node: Node, index: string): number {
  if (node.layer >= 0) return tree.layer(node.layer).stat(node.lower, tree.st2) >= 0 ? tree.st2.nlink : 0
  return tree.origins.stat(Buffer.from(index, 'hex'), tree.st2) >= 0 ? tree.st2.nlink : 0
}

/**
 * Enters a fresh copy (`temporary` in the work directory) of a lower file with several names into the index, before it gets
 * its name in the upper. Returns 0 or `-errno`.
 */
export function enterIndex(tree: Tree, node: Node, temporary: string, lowerNlink: number): number {
  const work = tree.work
  if (work === null || work.indexFd < 0) return 0
  const index = indexName(tree, node.layer, node)
  let r = setMark(tree, work.fd, temporary, 'nlink', Buffer.from('L+0'))
  if (r < 0) return r
  // For who reads the upper without a mount (lib/layer/copies.ts). A path that does not fit is no reason to fail.
  const lower = lowerPath(node)
  if (lower !== null) setMark(tree, work.fd, temporary, 'lower', Buffer.from(lower, 'latin1'))
  r = mutate.linkat(work.fd, temporary, work.indexFd, index)
  if (r < 0) return r
  const extra = extraOf(node)
  extra.index = index
  // The copy has two links now: its index entry, and the temporary name that becomes the name in the upper.
  extra.nlinkOffset = lowerNlink - 2
  return 0
}

/** Makes sure that the name (parent, name) of an indexed node is in the upper. The parent is there. Returns 0 or `-errno`. */
export function linkUp(tree: Tree, node: Node, parent: Node, name: string): number {
  const { extra } = node
  const work = tree.work
  if (extra === null || extra.index === '' || work === null) return 0
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  const there = statat(fd, name, tree.st2)
  if (there !== -E.ENOENT) return there
  const lowerNlink = lowerCount(tree, node, extra.index)
  let r = statat(work.indexFd, extra.index, tree.st2)
  if (r < 0) return r
  const union = tree.st2.nlink + extra.nlinkOffset
  if (lowerNlink > 0) {
    r = setMark(tree, work.indexFd, extra.index, 'nlink', signed('L', union - lowerNlink))
    if (r < 0) return r
  }
  r = mutate.linkat(work.indexFd, extra.index, fd, name)
  if (r < 0) return r
  noteCopiedUp(parent, name)
  extra.nlinkOffset--
  return holdOffset(tree, node)
}

/** Before a change of the upper's link count by as much as the union's, and after one that left the union's alone. */
export function holdOffset(tree: Tree, node: Node): number {
  const { extra } = node
  if (extra === null || extra.index === '' || tree.work === null) return 0
  return setMark(tree, tree.work.indexFd, extra.index, 'nlink', signed('U', extra.nlinkOffset))
}

/** After an unlink: removes the index entry when the union has no name left. */
export function leaveIndex(tree: Tree, node: Node): void {
  const { extra } = node
  const work = tree.work
  if (extra === null || extra.index === '' || work === null) return
  if (statat(work.indexFd, extra.index, tree.st2) < 0) return
  if (tree.st2.nlink + extra.nlinkOffset > 0) return
  mutate.unlinkat(work.indexFd, extra.index)
}

function signed(base: 'U' | 'L', n: number): Buffer {
  return Buffer.from(`${base}${n < 0 ? '' : '+'}${n}`)
}
