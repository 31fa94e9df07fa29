/**
 * Owns opening and closing files: which file is opened, and how the kernel does its I/O.
 * - Reading opens the lower's file as long as the upper has no data; anything that may write copies up first.
 * - One mode per nodeid from its first open to its last release: passthrough where the kernel offers it, else the page
 *   cache. A lower file with several names is cached unless stale names can be dropped after a swap (swap.ts).
 * - A node that was swapped goes on serving its readers from the lower; a writer that comes by it gets ESTALE.
 */
import { E } from '../errno.js'
import { O, S } from '../sys/constants.js'
import { close, dup } from '../sys/file.js'
import { attrTimeout, enter, killPriv } from './attributes.js'
import { copyUp } from './copy-up.js'
import { adopt, createFile, createNameless } from './create.js'
import { type Caller, type Entry, OpenMode, type OpenResult } from './filesystem.js'
import { Handle } from './handles.js'
import { fstat } from '../sys/stat.js'
import { lookup } from './lookup.js'
import { extraOf, type Node, Presence } from './node.js'
import { begin, mayBePartial } from './partial.js'
import { refuseWriting } from './protect.js'
import { mustSwap, swap } from './swap.js'
import type { Tree } from './tree.js'
import { openUpper } from './upper.js'

/** Flags that do not reach the file in the layer: creation is done apart, appending and direct I/O by the kernel above. */
const NOT_PASSED =
  O.CREAT | O.EXCL | O.APPEND | O.DIRECT | O.NONBLOCK | O.NOCTTY | O.DIRECTORY | O.NOFOLLOW | O.NOATIME | O.LARGEFILE

export function open(tree: Tree, node: Node, flags: number, kill: boolean, out: OpenResult): number {
  if (node.dir !== null) return -E.EISDIR
  if (node.type !== S.IFREG) return node.type === S.IFLNK ? -E.ELOOP : -E.EOPNOTSUPP
  const truncates = (flags & O.TRUNC) !== 0
  if ((flags & O.ACCMODE) !== O.RDONLY || truncates) {
    if (tree.work === null) return -E.EROFS
    if (node.extra !== null && node.extra.successor !== null) return -E.ESTALE
    const refused = refuseWriting(node, (flags & O.APPEND) !== 0, truncates)
    if (refused < 0) return refused
    const swapping = mustSwap(node)
    // A copy that is to be cut at once needs no data; after a swap the kernel opens again and cuts then.
    const r = makeWritable(tree, node, flags, truncates && !swapping ? 0 : Infinity)
    if (r < 0) return r
    if (swapping) return swap(tree, node)
  }
  const partial = node.extra?.partial ?? null
  const lower = node.upper !== Presence.Full && partial === null
  const fd = lower
    ? openLower(tree, node, out)
    : partial !== null
      ? dup(partial.to)
      : openUpper(tree, node, passed(tree, flags))
  if (fd < 0) return fd
  if (kill && truncates) {
    const r = killPriv(tree, node)
    if (r < 0) {
      close(fd)
      return r
    }
  }
  opened(tree, node, fd, flags, lower, out)
  return 0
}

/** Brings a file up to be written: whole, or, if it is large and only to be written, block by block as it is used. */
function makeWritable(tree: Tree, node: Node, flags: number, size: number): number {
  if (node.upper === Presence.Full) return 0
  if (node.extra !== null && node.extra.partial !== null && size > 0) return 0
  if (mustSwap(node) || !mayBePartial(tree, node, flags)) return copyUp(tree, node, Presence.Full, size)
  const r = copyUp(tree, node, Presence.Meta)
  return r < 0 || node.upper !== Presence.Meta ? r : begin(tree, node)
}

/** An fd of a node's lower file. Says in `out.fresh` whether it was opened just now, and not lately. */
function openLower(tree: Tree, node: Node, out: OpenResult): number {
  const kept = tree.lowerFiles.take(node.ino)
  out.fresh = kept < 0
  if (kept >= 0) return kept
  tree.lowerFiles.newKey()
  const fd = tree.layer(node.layer).open(node.lower)
  if (fd >= 0) tree.readAhead.opened(node)
  return fd
}

function passed(tree: Tree, flags: number): number {
  const kept = flags & ~NOT_PASSED
  // With writeback the kernel reads what a partly written page lacks, also through a handle that only writes.
  return tree.host.writeback && (kept & O.ACCMODE) === O.WRONLY ? (kept & ~O.ACCMODE) | O.RDWR : kept
}

function opened(tree: Tree, node: Node, fd: number, flags: number, lower: boolean, out: OpenResult): void {
  const extra = extraOf(node)
  const direct = extra.partial !== null || extra.direct > 0
  const passthrough =
    !direct && tree.host.passthrough && (extra.opens > 0 ? extra.cached === 0 : mayPass(tree, node, lower))
  const mode = direct ? OpenMode.Direct : passthrough ? OpenMode.Passthrough : OpenMode.Cached
  extra.opens++
  if (direct) extra.direct++
  else if (!passthrough) extra.cached++
  else if (lower) extra.lowerPassthrough++
  else if ((flags & O.ACCMODE) === O.RDWR) extra.writers++
  const key = lower ? tree.lowerFiles.key : 0
  out.handle = tree.handles.add(new Handle(node, fd, flags, lower, mode, key))
  out.mode = mode
  out.backingFd = passthrough ? fd : -1
  out.backingKey = key
  out.keepCache = mode === OpenMode.Cached
  out.fresh = lower && out.fresh && mode === OpenMode.Cached && extra.opens === 1
}

/** A lower file known by several names may be swapped only if the kernel can be made to forget the other names. */
function mayPass(tree: Tree, node: Node, lower: boolean): boolean {
  return !lower || tree.namesCanBeDropped || tree.linked.get(node.ino) !== node
}

export function create(
  tree: Tree,
  caller: Caller,
  parent: Node,
  name: string,
  mode: number,
  flags: number,
  kill: boolean,
  out: Entry,
  result: OpenResult,
): number {
  const fd = createFile(tree, caller, parent, name, mode & 0o7777, passed(tree, flags))
  if (fd === -E.EEXIST && (flags & O.EXCL) === 0) return openExisting(tree, parent, name, flags, kill, out, result)
  if (fd < 0) return fd
  return entered(tree, parent, name, fd, flags, out, result)
}

/** The kernel thought there was no such file, but there is: open(O_CREAT) without O_EXCL opens it. */
function openExisting(
  tree: Tree,
  parent: Node,
  name: string,
  flags: number,
  kill: boolean,
  out: Entry,
  result: OpenResult,
): number {
  const node = lookup(tree, parent, name, out.attr)
  if (typeof node === 'number') return node
  const r = open(tree, node, flags, kill, result)
  if (r < 0) {
    tree.collect(node)
    return r
  }
  const again = lookup(tree, parent, name, out.attr)
  return typeof again === 'number' ? again : enter(tree, again, out)
}

export function tmpfile(
  tree: Tree,
  caller: Caller,
  parent: Node,
  mode: number,
  flags: number,
  out: Entry,
  result: OpenResult,
): number {
  const fd = createNameless(tree, caller, parent, mode & 0o7777, passed(tree, flags))
  return fd < 0 ? fd : entered(tree, null, '', fd, flags, out, result)
}

function entered(
  tree: Tree,
  parent: Node | null,
  name: string,
  fd: number,
  flags: number,
  out: Entry,
  result: OpenResult,
): number {
  const r = fstat(fd, out.attr)
  if (r < 0) {
    close(fd)
    return r
  }
  const node = adopt(tree, parent, name, out.attr)
  opened(tree, node, fd, flags, false, result)
  if (parent === null) {
    // No name leads to it: its handle's fd does, as long as it is open.
    extraOf(node).fd = tree.duplicate(fd)
  }
  enter(tree, node, out)
  out.attrTimeout = attrTimeout(node)
  return 0
}

export function release(tree: Tree, id: number): void {
  const handle = tree.handles.remove(id)
  if (handle === undefined) return
  const { node } = handle
  if (handle.lower) tree.lowerFiles.keep(node.ino, handle.fd, handle.key)
  else close(handle.fd)
  const { extra } = node
  if (extra === null) return
  extra.opens--
  if (handle.mode === OpenMode.Direct) extra.direct--
  else if (handle.mode === OpenMode.Cached) extra.cached--
  else if (handle.lower) extra.lowerPassthrough--
  else if ((handle.flags & O.ACCMODE) === O.RDWR) extra.writers--
  if (extra.opens === 0 && extra.idle) node.extra = null
  if (node.lookups <= 0) tree.collect(node)
}
