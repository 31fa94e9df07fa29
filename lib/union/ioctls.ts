/**
 * Owns ioctl and statfs. Answered are the inode flags (`lsattr`, `chattr`) in both forms, as overlayfs does: read from the
 * layer that has the file, set on the copy in the upper. Everything else is ENOTTY, quickly: every open() of Python asks.
 */
import { DirectoryLayer } from '../layer/directory.js'
import { E } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, ioctl as call } from '../sys/file.js'
import { addressOf } from '../sys/libc.js'
import { fstatfs, type StatFs } from '../sys/stat.js'
import { copyUp } from './copy-up.js'
import { mutate } from './mutate.js'
import { type Node, Presence } from './node.js'
import type { Tree } from './tree.js'
import { openUpper } from './upper.js'

const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC_SETFLAGS = 0x40086602
const FS_IOC_FSGETXATTR = 0x801c581f
const FS_IOC_FSSETXATTR = 0x401c5820

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
  const inUpper = node.upper !== Presence.None
  if (!inUpper && node.dir !== null) return -E.ENOTTY
  const fd = inUpper ? openUpper(tree, node, O.RDONLY | O.NONBLOCK) : tree.layer(node.layer).open(node.lower)
  if (fd < 0) return fd
  const buffer = Buffer.alloc(32)
  const r = call(fd, command, addressOf(buffer))
  close(fd)
  if (r < 0) return r
  buffer.copy(reply, 0, 0, size)
  return size
}

function set(tree: Tree, node: Node, command: number, input: Buffer, size: number): number {
  if (input.length < size) return -E.EINVAL
  const up = copyUp(tree, node, Presence.Meta)
  if (up < 0) return up
  const fd = openUpper(tree, node, O.RDONLY | O.NONBLOCK)
  if (fd < 0) return fd
  const buffer = Buffer.alloc(32)
  input.copy(buffer, 0, 0, size)
  const r = mutate.ioctl(fd, command, addressOf(buffer))
  close(fd)
  return r < 0 ? r : 0
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
