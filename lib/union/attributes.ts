/**
 * Owns attributes: what stat shows of a node, and changing mode, owner, size and times.
 * - Inode numbers are the node's own; link counts the union's; blocks those of the file that has the data.
 * - Changes need the metadata in the upper (copy-up.ts), a change of size also the data.
 * - suid, sgid and security.capability go with a write, a truncation or a chown by anyone the kernel says (KillPriv).
 */
import { E } from '../errno.js'
import { O, S } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { UTIME_NOW, UTIME_OMIT } from '../sys/stat.js'
import type { Stat } from '../sys/stat.js'
import { CAPABILITY } from '../sys/xattr.js'
import { copyUp } from './copy-up.js'
import { type Caller, type Entry, type SetAttr, SetAttrValid } from './filesystem.js'
import { subdirectories } from './list.js'
import { mutate } from './mutate.js'
import { DirKind, type Node, Presence } from './node.js'
import { refuseSetAttr } from './protect.js'
import { mustSwap, swap } from './swap.js'
import type { Tree } from './tree.js'
import { chmodUpper, chownUpper, openUpper, removexattrUpper, statUpper, utimesUpper } from './upper.js'

/** Seconds the kernel may keep names and attributes: nobody else changes them. */
export const FOREVER = 1e8

/** Fills `st` with the union's attributes of a node. Returns 0 or `-errno`. */
export function statNode(tree: Tree, node: Node, st: Stat): number {
  const { dir, extra } = node
  let r: number
  if (node.upper !== Presence.None) {
    r = statUpper(tree, node, st)
    if (r < 0) return r
    if (node.upper === Presence.Meta && tree.layer(node.layer).stat(node.lower, tree.st2) >= 0) {
      st.blocks = tree.st2.blocks
    }
  } else {
    const at = dir !== null ? dir.lowers[0] : (extra?.face ?? null)
    if (at === null || at === undefined) {
      if (node.layer < 0) return -E.ENOENT
      r = tree.layer(node.layer).stat(node.lower, st)
    } else {
      r = tree.layer(at.layer).stat(at.node, st)
      if (extra?.face && tree.layer(node.layer).stat(node.lower, tree.st2) >= 0) st.blocks = tree.st2.blocks
    }
    if (r < 0) return r
    // A lower file whose name is gone: unlinked while somebody uses it.
    if (node.parent === null && node !== tree.root) st.nlink = 0
  }
  st.ino = node.ino
  if (extra !== null) st.attributes |= extra.protect
  if (dir !== null) {
    if (st.nlink > 1 && (dir.kind === DirKind.Merged || dir.lowers.length > 1))
      st.nlink = 2 + subdirectories(tree, node)
  } else if (extra !== null) {
    const before = extra.partial ?? extra.copy?.before ?? null
    if (before !== null) {
      // Its data is coming: nobody wrote.
      st.mtime = before.mtime
      st.mtimeNs = before.mtimeNs
    }
    if (extra.index !== '') st.nlink = Math.max(0, st.nlink + extra.nlinkOffset)
    if (extra.successor !== null) frozenSize(tree, node, extra.successor, st)
  }
  return 0
}

/** A node that was swapped while readers held it: the successor's attributes, with the size of what the readers read. */
function frozenSize(tree: Tree, node: Node, successor: Node, st: Stat): void {
  const { size, blocks } = st
  if (statNode(tree, successor, st) < 0) return
  st.size = size
  st.blocks = blocks
  st.ino = node.ino
}

/**
 * Seconds for which the kernel may keep a node's attributes: none while a writer may change them unseen (mmap), or while they
 * are changed under another node id (swap.ts).
 */
export function attrTimeout(node: Node): number {
  const { extra } = node
  return extra !== null && (extra.writers > 0 || extra.successor !== null) ? 0 : FOREVER
}

/** Fills an entry whose `attr` is filled already, and counts the lookup. */
export function enter(tree: Tree, node: Node, out: Entry): number {
  if (tree.ids !== null) tree.ids.show(out.attr)
  out.nodeid = node.id
  out.generation = node.generation
  out.entryTimeout = FOREVER
  out.attrTimeout = attrTimeout(node)
  node.lookups++
  return 0
}

export function getattr(tree: Tree, node: Node, out: Stat): number {
  const r = statNode(tree, node, out)
  if (tree.ids !== null) tree.ids.show(out)
  return r < 0 ? r : attrTimeout(node)
}

/**
 * Whether the request may be what a kernel with a writeback cache says of a lower file whose last name was removed, before
 * it forgets it: its mtime as it is, for the change time's sake. A copy for that would be thrown away at once.
 */
function saysNothing(node: Node, { valid }: SetAttr): boolean {
  const others = ~(SetAttrValid.Mtime | SetAttrValid.Ctime)
  const lower = node.upper === Presence.None && node.dir === null
  return lower && node.parent === null && (valid & others) === 0 && (valid & SetAttrValid.Mtime) !== 0
}

/** setattr of `Filesystem`: size, owner, mode, times, in this order, each undoing what the one before did on the side. */
export function setattr(tree: Tree, caller: Caller, target: Node, request: SetAttr, out: Stat): number {
  let node = target
  const { valid } = request
  if (tree.work === null) return -E.EROFS
  let r = refuseSetAttr(node.extra?.successor ?? node, request)
  if (r < 0) return r
  if ((valid & SetAttrValid.Size) !== 0) {
    if (node.dir !== null) return -E.EISDIR
    if (mustSwap(node)) {
      r = copyUp(tree, node, Presence.Full)
      return r < 0 ? r : swap(tree, node)
    }
    r = copyUp(tree, node, Presence.Full, request.size)
    if (r < 0) return r
    r = truncate(tree, node, request)
    if (r < 0) return r
  } else if (node.extra !== null && node.extra.successor !== null) node = node.extra.successor
  if (saysNothing(node, request)) {
    r = getattr(tree, target, out)
    if (r < 0 || (out.mtime === request.mtime && out.mtimeNs === request.mtimeNs)) return r
  }
  r = copyUp(tree, node, Presence.Meta)
  if (r < 0) return r
  if ((valid & (SetAttrValid.Uid | SetAttrValid.Gid)) !== 0) {
    let uid = (valid & SetAttrValid.Uid) !== 0 ? request.uid : -1
    let gid = (valid & SetAttrValid.Gid) !== 0 ? request.gid : -1
    if (tree.ids !== null) {
      if (uid >= 0) uid = tree.ids.storedUid(uid)
      if (gid >= 0) gid = tree.ids.storedGid(gid)
      if (uid < -1 || gid < -1) return -E.EINVAL
    }
    r = chownUpper(tree, node, uid, gid)
    if (r < 0) return r
  }
  if ((valid & SetAttrValid.Mode) !== 0) {
    r = chmodUpper(tree, node, request.mode & 0o7777)
    if (r < 0) return r
  }
  // chown(2) of the upper took them already, as it does on every filesystem.
  const owner = (valid & (SetAttrValid.Uid | SetAttrValid.Gid)) !== 0
  if (((valid & SetAttrValid.KillPriv) !== 0 && !owner) || (valid === 0 && caller.uid !== 0)) {
    r = killPriv(tree, node, (valid & SetAttrValid.Mode) !== 0)
    if (r < 0) return r
  }
  if ((valid & (SetAttrValid.Atime | SetAttrValid.Mtime)) !== 0) {
    r = setTimes(tree, node, request)
    if (r < 0) return r
  }
  return getattr(tree, target, out)
}

function truncate(tree: Tree, node: Node, request: SetAttr): number {
  const handle = request.handle === 0 ? undefined : tree.handles.get(request.handle)
  if (handle !== undefined && !handle.lower && (handle.flags & O.ACCMODE) !== O.RDONLY) {
    return mutate.ftruncate(handle.fd, request.size)
  }
  const fd = openUpper(tree, node, O.WRONLY | O.NONBLOCK)
  if (fd < 0) return fd
  const r = mutate.ftruncate(fd, request.size)
  close(fd)
  return r
}

function setTimes(tree: Tree, node: Node, request: SetAttr): number {
  const { valid } = request
  let atimeNs: number = UTIME_OMIT
  let mtimeNs: number = UTIME_OMIT
  if ((valid & SetAttrValid.AtimeNow) !== 0) atimeNs = UTIME_NOW
  else if ((valid & SetAttrValid.Atime) !== 0) atimeNs = request.atimeNs
  if ((valid & SetAttrValid.MtimeNow) !== 0) mtimeNs = UTIME_NOW
  else if ((valid & SetAttrValid.Mtime) !== 0) mtimeNs = request.mtimeNs
  const settled = node.dir === null ? 0 : (tree.owed?.settle(node) ?? 0)
  if (settled < 0) return settled
  const r = utimesUpper(tree, node, request.atime, atimeNs, request.mtime, mtimeNs)
  const before = node.extra?.partial ?? node.extra?.copy?.before ?? null
  if (r >= 0 && before !== null && statUpper(tree, node, tree.st2) >= 0) {
    if ((valid & SetAttrValid.Mtime) !== 0) {
      before.mtime = tree.st2.mtime
      before.mtimeNs = tree.st2.mtimeNs
    }
    if ('atime' in before) {
      before.atime = tree.st2.atime
      before.atimeNs = tree.st2.atimeNs
    }
  }
  return r
}

/**
 * Takes suid, sgid (where the group may execute) and security.capability from a file that is in the upper. `keepMode`: the
 * mode was given with the same request.
 */
export function killPriv(tree: Tree, node: Node, keepMode = false): number {
  if (node.type !== S.IFREG) return 0
  if (!keepMode) {
    const st = tree.st2
    const r = statUpper(tree, node, st)
    if (r < 0) return r
    let drop = st.mode & S.ISUID
    if ((st.mode & (S.ISGID | 0o010)) === (S.ISGID | 0o010)) drop |= S.ISGID
    if (drop !== 0) {
      const c = chmodUpper(tree, node, st.mode & 0o7777 & ~drop)
      if (c < 0) return c
    }
  }
  if (node.bare) return 0
  const r = removexattrUpper(tree, node, CAPABILITY)
  return r === -E.ENODATA || r === -E.EOPNOTSUPP ? 0 : r
}
