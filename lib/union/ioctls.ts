/**
 * Owns ioctl and statfs. Answered are the inode flags (`lsattr`, `chattr`) in both forms, as overlayfs does: read from the
 * layer that has the inode, set on the copy in the upper; append-only and immutable apart (protect.ts). Everything else is
 * ENOTTY, quickly: every open() of Python asks.
 */
import { DirectoryLayer } from '../layer/directory.js'
import { E } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, ioctl as call, openat } from '../sys/file.js'
import { addressOf } from '../sys/libc.js'
import { fstatfs, type StatFs } from '../sys/stat.js'
import { copyUp } from './copy-up.js'
import { markImpure } from './create.js'
import { mutate } from './mutate.js'
import { type Node, Presence } from './node.js'
import { APPEND, IMMUTABLE, PROTECTED, protection, protectionText, setProtection } from './protect.js'
import type { Tree } from './tree.js'
import { directoryFd, openUpper, removexattrUpper, setxattrUpper } from './upper.js'

const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC_SETFLAGS = 0x40086602
const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820
/** FS_XFLAG_*. */
const X_IMMUTABLE = 0x8
const X_APPEND = 0x10
const X_PROTECTED = X_IMMUTABLE | X_APPEND

export function ioctl(tree: Tree, node: Node, command: number, input: Buffer, reply: Buffer): number {
  switch (command) {
    case FS_IOC_GETFLAGS:
      return get(tree, node, command, reply, 4)
    case FS_IOC_FSGETXATTR:
      return get(tree, node, command, reply, 28)
    case FS_IOC_SETFLAGS:
      return set(tree, node, command, input, 4)
    case FS_IOC_FSSETXATTR:
      return set(tree, node, command, input, 28)
    default:
      return -E.ENOTTY
  }
}

function get(tree: Tree, node: Node, command: number, reply: Buffer, size: number): number {
  if (reply.length < size) return -E.EINVAL
  const buffer = Buffer.alloc(32)
  const fd = openToAsk(tree, node)
  if (fd < 0 && fd !== NO_INODE) return fd
  if (fd >= 0) {
    const r = call(fd, command, addressOf(buffer))
    close(fd)
    if (r < 0) return r
  }
  const kept = protection(node)
  buffer.writeUInt32LE((buffer.readUInt32LE(0) | (command === FS_IOC_GETFLAGS ? kept : toExtended(kept))) >>> 0, 0)
  buffer.copy(reply, 0, 0, size)
  return size
}

/** A directory of an index: there is no inode on a disk that could have flags. */
const NO_INODE = -0x30000000

/** An fd of what has `node`'s flags now, NO_INODE, or `-errno`. */
function openToAsk(tree: Tree, node: Node): number {
  if (node.upper !== Presence.None) return openUpper(tree, node, O.RDONLY | O.NONBLOCK)
  if (node.dir === null) return tree.layer(node.layer).open(node.lower)
  const top = node.dir.lowers[0]
  const layer = top === undefined ? undefined : tree.layer(top.layer)
  if (top === undefined || !(layer instanceof DirectoryLayer)) return NO_INODE
  const { fd, name } = layer.reach(top.node)
  return fd < 0 ? fd : openat(fd, name === '' ? '.' : name, O.RDONLY | O.DIRECTORY | O.NOFOLLOW)
}

function set(tree: Tree, target: Node, command: number, input: Buffer, size: number): number {
  if (input.length < size) return -E.EINVAL
  const node = target.extra?.successor ?? target
  const up = copyUp(tree, node, Presence.Meta)
  if (up < 0) return up
  const wanted = Buffer.alloc(32)
  input.copy(wanted, 0, 0, size)
  const flags = command === FS_IOC_SETFLAGS
  const protect = flags ? wanted.readUInt32LE(0) & PROTECTED : fromExtended(wanted.readUInt32LE(0))
  wanted.writeUInt32LE((wanted.readUInt32LE(0) & ~(flags ? PROTECTED : X_PROTECTED)) >>> 0, 0)
  const fd = openUpper(tree, node, O.RDONLY | O.NONBLOCK)
  if (fd < 0) return fd
  const now = Buffer.alloc(32)
  let r = call(fd, flags ? FS_IOC_GETFLAGS : FS_IOC_FSGETXATTR, addressOf(now))
  // How many extents there are is told, and not set.
  if (!flags) now.copy(wanted, 8, 8, 12)
  if (r >= 0 && !now.equals(wanted)) r = mutate.ioctl(fd, command, addressOf(wanted))
  close(fd)
  return r < 0 || protect === protection(node) ? Math.min(r, 0) : keepProtection(tree, node, protect)
}

/** Gives `node`, which is in the upper, other flags of protect.ts. Returns 0 or `-errno`. */
function keepProtection(tree: Tree, node: Node, flags: number): number {
  const name = `${tree.xattrPrefix}protattr`
  let r = 0
  if (node.dir === null && node.parent !== null) {
    const fd = directoryFd(tree, node.parent)
    r = fd < 0 ? fd : markImpure(tree, node.parent, fd)
  }
  if (r >= 0)
    r = flags === 0 ? removexattrUpper(tree, node, name) : setxattrUpper(tree, node, name, protectionText(flags), 0)
  if (r < 0 && r !== -E.ENODATA) return r
  setProtection(node, flags)
  return 0
}

function fromExtended(flags: number): number {
  return ((flags & X_IMMUTABLE) !== 0 ? IMMUTABLE : 0) | ((flags & X_APPEND) !== 0 ? APPEND : 0)
}

function toExtended(flags: number): number {
  return ((flags & IMMUTABLE) !== 0 ? X_IMMUTABLE : 0) | ((flags & APPEND) !== 0 ? X_APPEND : 0)
}

/** The numbers of the filesystem that is written to, or of the topmost layer that is on one. */
export function statfs(tree: Tree, out: StatFs): number {
  if (tree.upperFd >= 0) return fstatfs(tree.upperFd, out)
  for (const layer of tree.layers) {
    if (layer instanceof DirectoryLayer) return fstatfs(layer.reach(layer.root).fd, out)
  }
  out.type = 0x794c7630
  out.bsize = out.frsize = 4096
  out.namelen = 255
  out.blocks = out.bfree = out.bavail = out.files = out.ffree = 0
  return 0
}
