/**
 * Owns the sizes and places of what an index holds: xattr entries, directory blocks, and where an inode may start. Used by
 * erofs-write.ts, which says in what order.
 */
import { BLOCK, BLOCK_BITS, DIRENT, Layout, MAX_CHUNK_BITS, REDIRECT_LENGTH, SLOT } from './erofs-format.js'
import type { TreeInode } from './tree.js'

/** A directory's tail stays beside its inode up to this size; longer ones get a block of their own. */
export const INLINE_TAIL = 2048
export const XATTR_HEADER = 12
export const METACOPY: Xattr = { index: 4, suffix: 'overlay.metacopy', value: '' }
export const REDIRECT = 'overlay.redirect'
/** Bytes of the xattrs of most files: one shared, and where the content is. */
export const OBJECT_XATTRS = XATTR_HEADER + 4 + ((4 + REDIRECT.length + REDIRECT_LENGTH + 3) & ~3)
export const MAX_XATTRS = 256 * 1024

/** One inode's place and form, decided in the first pass. */
export interface Plan {
  readonly inode: TreeInode
  readonly parent: TreeInode
  /** Byte offset in the image. */
  at: number
  readonly header: 32 | 64
  layout: number
  /** Bytes of its xattrs. They are laid out again when they are written: kept, they would be most of the memory. */
  readonly xattrs: number
  /** Bytes behind the xattrs: directory tail, symlink target or chunk table. */
  tail: number
  /** Blocks of its own, and where they start counting from the data area. */
  blocks: number
  firstBlock: number
  /** Directories: sorted names with `.` and `..`, and how many entries each block takes. */
  readonly names: string[] | undefined
  readonly perBlock: number[] | undefined
  size: number
}

export interface XattrPlan {
  readonly shared: number[]
  readonly inline: Xattr[]
  readonly size: number
}

export interface Xattr {
  readonly index: number
  readonly suffix: string
  /** Byte string. */
  readonly value: string
}

/** overlayfs's own names inside a layer's content go one level down (overlayfs.rst, "Nesting overlayfs mounts"). */
export function escapeOverlay(index: number, suffix: string): string {
  return (index === 1 || index === 4) && suffix.startsWith('overlay.') ? `overlay.${suffix}` : suffix
}

export function entrySize(xattr: Xattr): number {
  return (4 + xattr.suffix.length + xattr.value.length + 3) & ~3
}

export function chunkBits(size: number): number {
  let bits = BLOCK_BITS
  while (bits < MAX_CHUNK_BITS && 2 ** bits < size) bits++
  return bits
}

/** Fills `perBlock` with the number of entries of each directory block; returns the directory's size. */
export function layDirectory(names: string[], perBlock: number[]): number {
  let used = 0
  let count = 0
  for (const name of names) {
    const need = DIRENT + name.length
    if (used + need > BLOCK) {
      perBlock.push(count)
      used = 0
      count = 0
    }
    used += need
    count++
  }
  perBlock.push(count)
  const rest = used > INLINE_TAIL ? BLOCK : used
  return (perBlock.length - 1) * BLOCK + rest
}

/** Gives the inode the first slot from `at` on where its tail crosses no block; returns the offset behind it. */
export function place(plan: Plan, at: number): number {
  const head = plan.header + plan.xattrs
  const inline = plan.layout === Layout.FlatInline && plan.tail > 0
  if (inline) {
    const symlink = plan.names === undefined
    while (!sameBlock(symlink ? at : at + head, at + head + plan.tail - 1)) at += SLOT
  }
  plan.at = at
  return Math.ceil((at + head + plan.tail) / SLOT) * SLOT
}

function sameBlock(first: number, last: number): boolean {
  return Math.floor(first / BLOCK) === Math.floor(last / BLOCK)
}
