/**
 * Owns copy-up: bringing an inode into the upper before it is changed.
 * - Everything is made in the work directory (data, owner, xattrs, mode, times, in this order: chown clears suid, a write
 *   clears capabilities, an ACL changes the mode) and appears in the upper by one rename. Before it, nothing is seen; after
 *   it, all is. Data is on disk before the rename, unless the mount is volatile.
 * - Parents come first. A directory comes empty: its entries stay in the lowers and merge.
 * - Metadata-only copies (overlayfs's metacopy): a file of the right size without blocks, marked; the data follows when
 *   somebody writes, into the same inode, and removing the mark is what makes it count.
 * - The parent's times are given back: the merged directory did not change.
 * - Long copies go to another thread (`host.defer`) and the caller returns PENDING.
 */
import { E } from '../errno.js'
import type { Layer } from '../layer/layer.js'
import { storedName } from '../layer/whiteout.js'
import { AT, O, S } from '../sys/constants.js'
import { close, ficlone } from '../sys/file.js'
import { Stat, statat } from '../sys/stat.js'
import { restoreTimes } from './attributes.js'
import type { Job } from './filesystem.js'
import { enterIndex, holdOffset } from './hard-links.js'
import { removeMark, setImpure, setMetacopy, setRedirect } from './marks.js'
import { mutate } from './mutate.js'
import { type Copying, DirKind, extraOf, type Node, Presence } from './node.js'
import { lowerPath } from './redirect.js'
import type { Tree } from './tree.js'
import { directoryFd, locate, openUpper } from './upper.js'

/** Files up to this size are copied within the call: a copy in the page cache takes less than waking another thread. */
const INLINE = 1 << 20

const parentSt = new Stat()
const sourceSt = new Stat()

/**
 * Brings `node` into the upper at least as far as `want`. `size`: only the first so many bytes of data are needed, because
 * the caller truncates. Returns 0, PENDING, or `-errno` (EROFS without an upper).
 */
export function copyUp(tree: Tree, node: Node, want: Presence, size = Infinity): number {
  if (node.upper >= want) return 0
  if (tree.work === null) return -E.EROFS
  if (node.dir !== null) return copyUpDirectory(tree, node)
  if (node.parent === null) return copyUpNameless(tree, node, size)
  const parents = copyUpDirectory(tree, node.parent)
  if (parents < 0) return parents
  if (node.type !== S.IFREG) return copyUpSpecial(tree, node)
  if (node.upper === Presence.Meta) return completeData(tree, node, size)
  return copyUpFile(tree, node, want, size)
}

/** Makes sure that a directory and all above it are in the upper. Returns 0 or `-errno`. */
export function copyUpDirectory(tree: Tree, node: Node): number {
  if (node.upper !== Presence.None) return 0
  if (tree.work === null) return -E.EROFS
  const way: Node[] = []
  for (let n: Node | null = node; n !== null && n.upper === Presence.None; n = n.parent) way.push(n)
  for (let i = way.length - 1; i >= 0; i--) {
    const r = copyUpOneDirectory(tree, way[i] as Node)
    if (r < 0) return r
  }
  return 0
}

function copyUpOneDirectory(tree: Tree, node: Node): number {
  const { work } = tree
  const { dir, parent } = node
  const top = dir?.lowers[0]
  if (work === null || dir === null || top === undefined || parent === null) return -E.ENOENT
  const layer = tree.layer(top.layer)
  let r = layer.stat(top.node, sourceSt)
  if (r < 0) return r
  const st = sourceSt
  const name = work.name()
  r = mutate.mkdirat(work.fd, name, 0o700)
  if (r < 0) return r
  r = copyMetadata(tree, layer, top.node, name, st)
  if (r >= 0) r = tree.origins.write(work.fd, name, top.layer, top.node, node.ino)
  if (r >= 0) r = mutate.utimensat(work.fd, name, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
  if (r >= 0) r = place(tree, node, name)
  if (r < 0) {
    work.discard(name)
    return r
  }
  node.upper = Presence.Full
  dir.kind = DirKind.Merged
  if (dir.subdirs < 0 && dir.lowers.length === 1 && st.nlink >= 2) dir.subdirs = st.nlink - 2
  return 0
}

/** Owner, extended attributes and mode of a lower object onto `name` in the work directory. */
function copyMetadata(tree: Tree, layer: Layer, from: number, name: string, st: Stat): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  let r = mutate.chownat(work.fd, name, st.uid, st.gid)
  if (r < 0) return r
  r = copyXattrs(layer, from, work.fd, name)
  if (r < 0) return r
  return (st.mode & S.IFMT) === S.IFLNK ? 0 : mutate.chmodat(work.fd, name, st.mode & 0o7777)
}

function copyXattrs(layer: Layer, from: number, fd: number, name: string): number {
  const names = layer.listxattr(from)
  if (typeof names === 'number') return names === -E.EOPNOTSUPP ? 0 : names
  for (const xattr of names) {
    const value = layer.getxattr(from, xattr)
    if (typeof value === 'number') {
      if (value === -E.ENODATA) continue
      return value
    }
    const r = mutate.setxattrat(fd, name, storedName(xattr), value)
    // An ACL or a label that the upper's filesystem cannot hold at all is left behind, as the kernel's overlayfs does.
    if (r < 0 && r !== -E.EOPNOTSUPP) return r
  }
  return 0
}

/** Gives a finished copy its name in the upper directory of its parent, which keeps its times. */
function place(tree: Tree, node: Node, temporary: string): number {
  const { work } = tree
  const { parent } = node
  if (work === null || parent === null) return -E.EROFS
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  let r = statat(fd, '', parentSt, AT.EMPTY_PATH)
  if (r < 0) return r
  if (parent.dir !== null && !parent.dir.impure) {
    r = setImpure(tree, fd, '')
    if (r < 0) return r
    parent.dir.impure = true
  }
  r = mutate.renameat2(work.fd, temporary, fd, node.name)
  if (r < 0) return r
  restoreTimes(tree, parent, parentSt)
  return 0
}

function copyUpSpecial(tree: Tree, node: Node): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const layer = tree.layer(node.layer)
  const st = sourceSt
  let r = layer.stat(node.lower, st)
  if (r < 0) return r
  const name = work.name()
  if (node.type === S.IFLNK) {
    const target = layer.readlink(node.lower)
    if (typeof target === 'number') return target
    r = mutate.symlinkat(target, work.fd, name)
  } else r = mutate.mknodat(work.fd, name, node.type | 0o600, st.rdev)
  if (r < 0) return r
  return finish(tree, node, name, st, Presence.Full)
}

function copyUpFile(tree: Tree, node: Node, want: Presence, limit: number): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const face = node.extra?.face ?? null
  const st = sourceSt
  let r = face === null ? tree.layer(node.layer).stat(node.lower, st) : tree.layer(face.layer).stat(face.node, st)
  if (r < 0) return r
  const size = Math.min(limit, st.size)
  const meta = want === Presence.Meta && tree.metacopy && st.size > 0
  if (!meta && size > 0) {
    const name = copyData(tree, node, size)
    if (typeof name === 'number') return name
    return finish(tree, node, name, st, Presence.Full)
  }
  const name = work.name()
  const fd = mutate.openat(work.fd, name, O.CREAT | O.EXCL | O.WRONLY, 0o600)
  if (fd < 0) return fd
  r = meta ? mutate.ftruncate(fd, st.size) : 0
  close(fd)
  if (r >= 0 && meta) r = setMetacopy(tree, work.fd, name)
  if (r >= 0 && meta) r = pointToData(tree, node, name)
  if (r < 0) {
    work.discard(name)
    return r
  }
  return finish(tree, node, name, st, meta ? Presence.Meta : Presence.Full)
}

/** A metacopy whose data is not under its own name in the lowers says where. */
function pointToData(tree: Tree, node: Node, name: string): number {
  const { work } = tree
  if (work === null || node.extra === null) return 0
  if (node.extra.index === '' && (node.extra.names?.length ?? 0) === 0) return 0
  const path = lowerPath(node)
  return path === null ? 0 : setRedirect(tree, work.fd, name, path)
}

/** Metadata onto a copy, the index entry of a hard-linked one, and its name. */
function finish(tree: Tree, node: Node, name: string, st: Stat, presence: Presence): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const face = node.extra?.face ?? null
  const layer = tree.layer(face?.layer ?? node.layer)
  const from = face?.node ?? node.lower
  let r = copyMetadata(tree, layer, from, name, st)
  if (r >= 0) r = tree.origins.write(work.fd, name, face?.layer ?? node.layer, from, node.ino)
  if (r >= 0) r = mutate.utimensat(work.fd, name, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
  const indexed = st.nlink > 1
  if (r >= 0 && indexed) r = enterIndex(tree, node, name, st.nlink)
  if (r >= 0) r = place(tree, node, name)
  if (r < 0) {
    if (node.extra !== null && node.extra.index !== '') {
      mutate.unlinkat(work.indexFd, node.extra.index)
      node.extra.index = ''
      node.extra.nlinkOffset = 0
    }
    work.discard(name)
    return r
  }
  node.upper = presence
  return indexed ? holdOffset(tree, node) : 0
}

/**
 * Copies the first `size` bytes of a node's lower data to a fresh file in the work directory. Returns its name, PENDING, or
 * `-errno`.
 */
function copyData(tree: Tree, node: Node, size: number): string | number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const running = node.extra?.copy ?? null
  if (running !== null) return resume(tree, node, running)
  const from = tree.layer(node.layer).open(node.lower)
  if (from < 0) return from
  const name = work.name()
  const to = mutate.openat(work.fd, name, O.CREAT | O.EXCL | O.RDWR, 0o600)
  if (to < 0) {
    close(from)
    return to
  }
  const r = size <= INLINE ? copySynced(tree, from, to, size) : tryClone(from, to, size)
  if (r === -E.EOPNOTSUPP && size > INLINE) return defer(tree, node, name, from, to, size)
  close(from)
  close(to)
  if (r < 0) {
    work.discard(name)
    return r
  }
  return name
}

function copySynced(tree: Tree, from: number, to: number, size: number): number {
  const r = mutate.copyData(from, to, size)
  return r < 0 || tree.volatile ? r : mutate.fdatasync(to)
}

/** Shares the extents, which takes no time; EOPNOTSUPP where that cannot be. */
function tryClone(from: number, to: number, size: number): number {
  if (ficlone(to, from) < 0) return -E.EOPNOTSUPP
  return mutate.ftruncate(to, size)
}

function defer(tree: Tree, node: Node, name: string, from: number, to: number, size: number): number {
  const copy: Copying = {
    job: {
      spec: { op: 'copy', from, to, size, sync: !tree.volatile },
      done: (result: number): void => {
        copy.result = result
      },
    } satisfies Job,
    name,
    from,
    to,
    result: 1,
  }
  extraOf(node).copy = copy
  return tree.host.defer(copy.job)
}

function resume(tree: Tree, node: Node, copy: Copying): string | number {
  if (copy.result === 1) return tree.host.defer(copy.job)
  close(copy.from)
  close(copy.to)
  extraOf(node).copy = null
  if (copy.result < 0) {
    tree.work?.discard(copy.name)
    return copy.result
  }
  return copy.name
}

/** Puts the data into a metadata-only copy, in place: until its mark is removed the lower's data counts. */
function completeData(tree: Tree, node: Node, limit: number): number {
  let r: number
  const at = locate(tree, node)
  if (at < 0) return at
  const nameThere = tree.name
  r = statat(at, nameThere, sourceSt, nameThere === '' ? AT.EMPTY_PATH : AT.SYMLINK_NOFOLLOW)
  if (r < 0) return r
  const st = sourceSt
  const size = Math.min(limit, st.size)
  const name = size > 0 ? copyData(tree, node, size) : ''
  if (typeof name === 'number') return name
  const { work } = tree
  if (work === null) return -E.EROFS
  const to = openUpper(tree, node, O.WRONLY)
  if (to < 0) {
    if (name !== '') work.discard(name)
    return to
  }
  r = 0
  if (name !== '') {
    // The finished copy lends its extents, or its pages: the long part was done in the background.
    const from = mutate.openat(work.fd, name, O.RDONLY)
    r = from < 0 ? from : copySynced(tree, from, to, size)
    if (from >= 0) close(from)
    work.discard(name)
  }
  if (r >= 0 && size < st.size) r = mutate.ftruncate(to, st.size)
  if (r >= 0) r = mutate.futimens(to, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
  close(to)
  if (r < 0) return r
  const fd = locate(tree, node)
  if (fd < 0) return fd
  r = removeMark(tree, fd, tree.name, 'metacopy')
  if (r < 0) return r
  node.upper = Presence.Full
  return 0
}

/** A removed lower file that is still open gets a copy without a name, for as long as it is used. */
function copyUpNameless(tree: Tree, node: Node, limit: number): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  if (node.type !== S.IFREG) return -E.ENOENT
  const st = sourceSt
  const face = node.extra?.face ?? null
  let r = face === null ? tree.layer(node.layer).stat(node.lower, st) : tree.layer(face.layer).stat(face.node, st)
  if (r < 0) return r
  const size = Math.min(limit, st.size)
  let name: string | number
  if (size > 0) name = copyData(tree, node, size)
  else {
    name = work.name()
    const fd = mutate.openat(work.fd, name, O.CREAT | O.EXCL | O.WRONLY, 0o600)
    if (fd < 0) return fd
    close(fd)
  }
  if (typeof name === 'number') return name
  r = copyMetadata(tree, tree.layer(face?.layer ?? node.layer), face?.node ?? node.lower, name, st)
  if (r >= 0) r = mutate.utimensat(work.fd, name, st.atime, st.atimeNs, st.mtime, st.mtimeNs)
  const fd = r < 0 ? r : mutate.openat(work.fd, name, O.PATH | O.NOFOLLOW)
  work.discard(name)
  if (fd < 0) return fd
  extraOf(node).fd = fd
  node.upper = Presence.Full
  return 0
}
