/**
 * Owns append-only and immutable (`chattr +a`, `+i`): who has the flag, and what it forbids, by the rules of the kernel's VFS,
 * which does not know the flags of a FUSE inode.
 * - On the upper they are kept as overlayfs keeps them: `a` and `i` in the attribute `overlay.protattr`. The upper
 *   filesystem's own flags would also refuse what the union must do: copies into such a directory, data into such a copy.
 * - A lower's are the flags that its inode has on its filesystem; a copy-up takes them along.
 * They are read where the other marks of a name are, so a file's directory must be marked impure. Values are bits of FS_IOC_GETFLAGS,
 * which for these two are those of STATX_ATTR_* as well.
 */
import { E } from '../errno.js'
import { type SetAttr, SetAttrValid } from './filesystem.js'
import { extraOf, type Node } from './node.js'

export const IMMUTABLE = 0x10
export const APPEND = 0x20
export const PROTECTED = IMMUTABLE | APPEND

/** The flags of `node`, 0 for nearly all. */
export function protection(node: Node): number {
  return node.extra === null ? 0 : node.extra.protect
}

/** Other bits of `flags` are left out, so that attributes as statx(2) gives them will do. */
export function setProtection(node: Node, flags: number): void {
  const kept = flags & PROTECTED
  if (kept !== protection(node)) extraOf(node).protect = kept
}

/** The attribute's value, for flags that are not 0. */
export function protectionText(flags: number): Buffer {
  return Buffer.from(`${(flags & APPEND) !== 0 ? 'a' : ''}${(flags & IMMUTABLE) !== 0 ? 'i' : ''}`)
}

export function parseProtection(value: string): number {
  return (value.includes('a') ? APPEND : 0) | (value.includes('i') ? IMMUTABLE : 0)
}

/** 0, or -EPERM when a name may not be made in `parent`. */
export function refuseEntry(parent: Node): number {
  return (protection(parent) & IMMUTABLE) !== 0 ? -E.EPERM : 0
}

/** 0, or -EPERM when the name of `node` may not be taken from `parent`. */
export function refuseRemoval(parent: Node, node: Node): number {
  return (protection(parent) | protection(node)) !== 0 ? -E.EPERM : 0
}

/** 0, or -EPERM when an attribute may not be set, or a further link made. */
export function refuseChange(node: Node): number {
  return protection(node) !== 0 ? -E.EPERM : 0
}

/** 0, or -EPERM when setattr's request is refused. An append-only file may be touched; its times follow its writes. */
export function refuseSetAttr(node: Node, { valid }: SetAttr): number {
  const flags = protection(node)
  if (flags === 0 || valid === 0) return 0
  if ((flags & IMMUTABLE) !== 0) return -E.EPERM
  if ((valid & (SetAttrValid.Mode | SetAttrValid.Uid | SetAttrValid.Gid | SetAttrValid.Size)) !== 0) return -E.EPERM
  // With a writeback cache the kernel gives the times of cached writes in the same form as a caller's mtime without atime:
  // together with the change time. That one is let through, for the write was allowed when it was made.
  if ((valid & SetAttrValid.Ctime) !== 0 && (valid & SetAttrValid.Atime) === 0) return 0
  const explicit = (set: number, now: number): boolean => (valid & set) !== 0 && (valid & now) === 0
  return explicit(SetAttrValid.Atime, SetAttrValid.AtimeNow) || explicit(SetAttrValid.Mtime, SetAttrValid.MtimeNow)
    ? -E.EPERM
    : 0
}

/** 0, or -EPERM when the file may not be opened to be written so. */
export function refuseWriting(node: Node, appends: boolean, truncates: boolean): number {
  const flags = protection(node)
  if (flags === 0) return 0
  return (flags & IMMUTABLE) !== 0 || truncates || !appends ? -E.EPERM : 0
}
