/**
 * Owns making new names: files, directories, nodes, symlinks, hard links, files without a name.
 * - In place when nothing of that name is in the upper: one system call, atomic by itself.
 * - Over a whiteout: made apart and put in its place by one rename, so that what the whiteout hides never shows.
 *   A directory made over a whiteout is opaque from its first instant.
 * Invariant: a new object has its final owner, mode and ACL when its name appears.
 */
import { E } from '../errno.js'
import { isMark } from '../layer/whiteout.js'
import { AT, O, RENAME, S } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { type Stat, statat } from '../sys/stat.js'
import { getxattrat } from '../sys/xattr.js'
import { enter } from './attributes.js'
import { copyUp, copyUpDirectory } from './copy-up.js'
import { become, createMode, hasDefaultAcl, revert } from './creator.js'
import type { Caller, Entry } from './filesystem.js'
import { holdOffset } from './hard-links.js'
import { remember } from './list.js'
import { Found } from './found.js'
import { Listing, noteAdded } from './listing.js'
import { hasMark, lookup, NAME_MAX } from './lookup.js'
import { isUpperWhiteout, setImpure, setOpaque, setRedirect, text, validRedirect } from './marks.js'
import { mutate } from './mutate.js'
import { DirKind, Directory, extraOf, type Node, Presence } from './node.js'
import { refuseChange, refuseEntry } from './protect.js'
import { lowerPath } from './redirect.js'
import type { Tree } from './tree.js'
import { directoryFd, locate, self, statUpper } from './upper.js'
import { clearMark } from './whiteouts.js'

const NOTHING = new Found()

/** What is at a name in the upper before it is made. */
export const Spot = { Free: 0, Whiteout: 1 } as const

/**
 * Prepares to make `name` in `parent`: the parent comes up. Returns Spot.Free, Spot.Whiteout (something in the upper hides a
 * lower name), or `-errno`: EEXIST when the name shows something.
 */
export function prepare(tree: Tree, parent: Node, name: string): number {
  const dir = parent.dir
  if (dir === null) return -E.ENOTDIR
  if (tree.work === null) return -E.EROFS
  if (isMark(name)) return -E.EINVAL
  if (name.length > NAME_MAX) return -E.ENAMETOOLONG
  if (dir.children?.has(name) === true) return -E.EEXIST
  if (parent.parent === null && parent !== tree.root) return -E.ENOENT
  const refused = refuseEntry(parent)
  if (refused < 0) return refused
  const r = copyUpDirectory(tree, parent)
  if (r < 0) return r
  // The kernel looks a name up before it makes it, but what is below must never be hidden by a mistake: look again.
  if (dir.kind !== DirKind.Pure) {
    const found = lookup(tree, parent, name, tree.st)
    if (typeof found !== 'number') {
      tree.collect(found)
      return -E.EEXIST
    }
    if (found !== -E.ENOENT) return found
  }
  return tree.owed?.settle(parent) ?? Spot.Free
}

/** After EEXIST from the upper: whether a whiteout is what is there. Returns Spot.Whiteout, -EEXIST or another `-errno`. */
export function whatIsThere(tree: Tree, parent: Node, fd: number, name: string): number {
  const r = statat(fd, name, tree.st2)
  if (r < 0) return r
  return isUpperWhiteout(parent, fd, name, tree.st2) ? Spot.Whiteout : -E.EEXIST
}

/**
 * Makes a regular file and opens it. Returns the fd, or `-errno`; `tree.overNothing` says whether nothing was hidden there.
 * `mode` comes without type bits.
 */
export function createFile(
  tree: Tree,
  caller: Caller,
  parent: Node,
  name: string,
  mode: number,
  flags: number,
): number {
  const spot = prepare(tree, parent, name)
  if (spot < 0) return spot
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  const masked = createMode(tree, parent, mode, caller)
  const file = openAs(caller, fd, name, (flags & ~O.TRUNC) | O.CREAT | O.EXCL | O.NOFOLLOW, masked)
  // Where whiteouts are marks beside names, the mark goes now, and what it hid must be hidden again.
  tree.overNothing = file >= 0 && tree.work?.whiteoutForm !== 'mark'
  if (file >= 0) {
    clearMark(tree, fd, name)
    return file
  }
  if (file !== -E.EEXIST) return file
  const there = whatIsThere(tree, parent, fd, name)
  return there < 0 ? there : createOverWhiteout(tree, caller, parent, fd, name, masked, flags)
}

function createOverWhiteout(
  tree: Tree,
  caller: Caller,
  parent: Node,
  fd: number,
  name: string,
  mode: number,
  flags: number,
): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const staging = stage(tree, parent, fd)
  if (staging.fd < 0) return staging.fd
  const temporary = work.name()
  let file = openAs(caller, staging.fd, temporary, (flags & ~O.TRUNC) | O.CREAT | O.EXCL | O.NOFOLLOW, mode)
  if (file >= 0) {
    const r = mutate.renameat2(staging.fd, temporary, fd, name)
    if (r < 0) {
      close(file)
      mutate.unlinkat(staging.fd, temporary)
      file = r
    }
  }
  unstage(tree, staging)
  return file
}

interface Staging {
  readonly fd: number
  /** '' when it is the work directory itself. */
  readonly name: string
}

/**
 * A directory, in the work directory, in which new objects get what they would get in `parent`: its default ACL, and its
 * group where it is set-group-ID.
 */
function stage(tree: Tree, parent: Node, fd: number): Staging {
  const { work } = tree
  if (work === null) return { fd: -E.EROFS, name: '' }
  let r = statat(fd, '', tree.st2, AT.EMPTY_PATH)
  if (r < 0) return { fd: r, name: '' }
  const setgid = (tree.st2.mode & S.ISGID) !== 0
  const acl = hasDefaultAcl(tree, parent)
  if (!setgid && !acl) return { fd: work.fd, name: '' }
  const gid = tree.st2.gid
  const name = work.name()
  r = mutate.mkdirat(work.fd, name, 0o700)
  if (r >= 0) r = mutate.chownat(work.fd, name, 0xffffffff, gid)
  if (r >= 0 && setgid) r = mutate.chmodat(work.fd, name, 0o2700)
  if (r >= 0 && acl) {
    const value = getxattrat(fd, '', 'system.posix_acl_default')
    if (typeof value !== 'number') r = mutate.setxattrat(work.fd, name, 'system.posix_acl_default', value)
  }
  if (r >= 0) r = openat(work.fd, name, O.PATH | O.DIRECTORY | O.NOFOLLOW)
  if (r < 0) work.discard(name)
  return { fd: r, name }
}

function unstage(tree: Tree, staging: Staging): void {
  if (staging.name === '' || tree.work === null) return
  close(staging.fd)
  tree.work.discard(staging.name)
}

/**
 * Makes a node for a new object in the upper; `st` is its stat and becomes the union's. `tree.overNothing` says whether the
 * name hides nothing.
 */
export function adopt(tree: Tree, parent: Node | null, name: string, st: Stat): Node {
  const type = st.mode & S.IFMT
  const ino = tree.inodes.of(st.dev, st.ino)
  const node = tree.make(parent, name, ino, type, Presence.Full, -1, 0)
  node.bare = true
  st.ino = ino
  if (type === S.IFDIR) {
    node.dir = new Directory(DirKind.Pure, [])
    remember(tree, node, new Listing(NOTHING))
  }
  if (parent !== null) noteAdded(parent, name, node, tree.overNothing)
  return node
}

/** mknod, mkdir and symlink of `Filesystem`: `mode` with type bits, `target` for symlinks. */
export function make(
  tree: Tree,
  caller: Caller,
  parent: Node,
  name: string,
  mode: number,
  rdev: number,
  target: string,
  out: Entry,
): number {
  const type = mode & S.IFMT
  // It would be a whiteout. overlayfs says EPERM as well.
  if (type === S.IFCHR && rdev === 0) return -E.EPERM
  const spot = prepare(tree, parent, name)
  if (spot < 0) return spot
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  const masked = type | createMode(tree, parent, mode & 0o7777, caller)
  // A directory over a `.wh.` mark would merge with what the mark hides, if the mark went first.
  const overMark = parent.dir?.kind === DirKind.Merged && hasMark(fd, name, tree.st2)
  let r = overMark && type === S.IFDIR ? -E.EEXIST : makeIn(caller, fd, name, masked, rdev, target)
  tree.overNothing = !overMark
  if (r === -E.EEXIST) {
    const there = overMark ? Spot.Whiteout : whatIsThere(tree, parent, fd, name)
    if (there < 0) return there
    r = makeOverWhiteout(tree, caller, parent, fd, name, masked, rdev, target, overMark)
    tree.overNothing = false
  }
  if (r < 0) return r
  if (overMark) clearMark(tree, fd, name)
  r = statat(fd, name, out.attr)
  if (r < 0) return r
  return enter(tree, adopt(tree, parent, name, out.attr), out)
}

function makeIn(caller: Caller, fd: number, name: string, mode: number, rdev: number, target: string): number {
  const type = mode & S.IFMT
  become(caller, mode)
  try {
    return type === S.IFDIR
      ? mutate.mkdirat(fd, name, mode & 0o7777)
      : type === S.IFLNK
        ? mutate.symlinkat(target, fd, name)
        : mutate.mknodat(fd, name, mode, rdev)
  } finally {
    revert(caller)
  }
}

/** openat of a new file in the caller's name. */
function openAs(caller: Caller, fd: number, name: string, flags: number, mode: number): number {
  become(caller, mode)
  try {
    return mutate.openat(fd, name, flags, mode)
  } finally {
    revert(caller)
  }
}

function makeOverWhiteout(
  tree: Tree,
  caller: Caller,
  parent: Node,
  fd: number,
  name: string,
  mode: number,
  rdev: number,
  target: string,
  overMark: boolean,
): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const staging = stage(tree, parent, fd)
  if (staging.fd < 0) return staging.fd
  const temporary = work.name()
  const directory = (mode & S.IFMT) === S.IFDIR
  let r = makeIn(caller, staging.fd, temporary, mode, rdev, target)
  if (r >= 0) {
    if (directory) r = setOpaque(tree, staging.fd, temporary)
    if (r >= 0) {
      // A rename does not replace a whiteout by a directory, an exchange does.
      const exchange = directory && !overMark
      r = mutate.renameat2(staging.fd, temporary, fd, name, exchange ? RENAME.EXCHANGE : 0)
    }
    if (r < 0 || directory) mutate.unlinkat(staging.fd, temporary)
    if (r < 0 && directory) mutate.rmdirat(staging.fd, temporary)
  }
  unstage(tree, staging)
  return r
}

/** Makes a regular file without a name and opens it. Returns the fd, or `-errno`; EOPNOTSUPP where the upper cannot. */
export function createNameless(tree: Tree, caller: Caller, parent: Node, mode: number, flags: number): number {
  if (tree.work === null) return -E.EROFS
  let r = refuseEntry(parent)
  if (r >= 0) r = copyUpDirectory(tree, parent)
  if (r < 0) return r
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  const masked = createMode(tree, parent, mode, caller)
  return openAs(caller, fd, '.', (flags & ~(O.CREAT | O.TRUNC | O.EXCL)) | O.TMPFILE, masked)
}

/** link of `Filesystem`. */
export function link(tree: Tree, node: Node, parent: Node, name: string, out: Entry): number {
  if (node.dir !== null || refuseChange(node) < 0) return -E.EPERM
  const spot = prepare(tree, parent, name)
  if (spot < 0) return spot
  // A metadata copy can have two names only if it says by path where its data is.
  let r = copyUp(tree, node, tree.metacopy ? Presence.Meta : Presence.Full)
  if (r < 0) return r
  if (node.upper === Presence.Meta) {
    r = pinData(tree, node)
    if (r < 0) return r
  }
  r = tree.owed?.settle(parent) ?? 0
  if (r < 0) return r
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  r = parent.dir?.impure !== true && isForeign(tree, node) ? markImpure(tree, parent, fd) : 0
  if (r < 0) return r
  r = holdOffset(tree, node)
  if (r < 0) return r
  r = linkTo(tree, node, fd, name)
  if (r === -E.EEXIST) {
    const there = whatIsThere(tree, parent, fd, name)
    if (there < 0) return there
    r = linkOverWhiteout(tree, node, fd, name)
  }
  if (r < 0) return r
  clearMark(tree, fd, name)
  const extra = node.extra
  tree.addName(node, parent, name)
  if (extra !== null && extra.fd >= 0) {
    // It has a name again: the fd kept for it is not needed any more.
    close(extra.fd)
    extra.fd = -1
  }
  tree.linked.set(node.ino, node)
  noteAdded(parent, name, node)
  const at = locate(tree, node)
  r = at < 0 ? at : statat(fd, name, out.attr)
  if (r < 0) return r
  out.attr.ino = node.ino
  if (extra !== null && extra.index !== '') out.attr.nlink += extra.nlinkOffset
  return enter(tree, node, out)
}

function linkTo(tree: Tree, node: Node, fd: number, name: string): number {
  const at = locate(tree, node)
  if (at < 0) return at
  if (tree.name !== '') return mutate.linkat(at, tree.name, fd, name)
  const file = openat(AT.FDCWD, self(at), O.PATH)
  if (file < 0) return file
  const r = mutate.linkFd(file, fd, name)
  close(file)
  return r
}

function linkOverWhiteout(tree: Tree, node: Node, fd: number, name: string): number {
  const { work } = tree
  if (work === null) return -E.EROFS
  const temporary = work.name()
  let r = linkTo(tree, node, work.fd, temporary)
  if (r < 0) return r
  r = mutate.renameat2(work.fd, temporary, fd, name)
  if (r < 0) work.discard(temporary)
  return r
}

/** Writes into a metadata copy where its data is, if its names are to change or grow. Returns 0 or `-errno`. */
export function pinData(tree: Tree, node: Node): number {
  const extra = extraOf(node)
  if (extra.pinned) return 0
  const fd = locate(tree, node)
  if (fd < 0) return fd
  const where = tree.name
  const there = getxattrat(fd, where, `${tree.xattrPrefix}redirect`)
  if (typeof there !== 'number' && there[0] === 47) {
    extra.pinned = true
    return 0
  }
  const directory = node.parent === null ? null : lowerPath(node.parent)
  if (directory === null) return copyUp(tree, node, Presence.Full)
  // Renamed within its directory by the kernel: the lowers have it there under its old name.
  const sibling = typeof there === 'number' ? null : validRedirect(text(there))
  const path = `${directory === '/' ? '' : directory}/${sibling ?? node.name}`
  const r = setRedirect(tree, fd, where, path)
  if (r >= 0) extra.pinned = true
  return r
}

/** Whether a node's inode number is not its upper inode's own: whoever lists its directory must look for the origin. */
export function isForeign(tree: Tree, node: Node): boolean {
  if (node.layer >= 0 || (node.dir !== null && node.dir.lowers.length > 0)) return true
  return statUpper(tree, node, tree.st2) >= 0 && tree.inodes.of(tree.st2.dev, tree.st2.ino) !== node.ino
}

export function markImpure(tree: Tree, parent: Node, fd: number): number {
  if (parent.dir === null || parent.dir.impure) return 0
  const r = setImpure(tree, fd, '')
  if (r >= 0) parent.dir.impure = true
  return r
}
