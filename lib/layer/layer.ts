/**
 * Owns the seam between the union and a layer at rest: `Layer`, one read-only tree with its whiteouts and opaque marks.
 * Two implementations: a directory (directory.ts) and an EROFS index over objects (indexed.ts).
 * Names and paths are byte strings (lib/bytes.ts). Results are `>= 0` or `-errno`; nothing here throws on a hot call.
 * Invariant: a layer never changes while it is mounted, and nothing done through this interface can change it.
 */
import type { Stat } from '../sys/stat.js'
import type { Copies } from './copies.js'

/** One object of one layer: a small integer >= 0 that the layer hands out. 64-bit safe only below 2^53. */
export type LayerNode = number

/** The dirent type by which `list` reports a whiteout (the DT_WHT of getdents). */
export const DT_WHT = 14

/** Takes entries of a listing. A name is part of bytes that stay as they are while the layer is open. */
export interface EntrySink {
  take(bytes: Buffer, from: number, to: number, type: number, ino: number): void
}

export interface Layer {
  /** What `st.ino` is unique within: layers on one filesystem share it (the device number), an index has its own. */
  readonly fsid: number
  readonly root: LayerNode
  /** Of an upper: copies of files below it that names which it does not have lead to (copies.ts). */
  readonly copies?: Copies | undefined

  /** Paths (byte strings) that are here and mean nothing: who tells changes passes over them. */
  readonly hidden?: ReadonlySet<string> | undefined

  /**
   * Finds `name` in `dir` and fills `st`. A whiteout in any encoding is answered as a char device 0:0
   * (`isWhiteout(st)`); marks such as `.wh.x` themselves are never found. Returns the node, or `-errno` (ENOENT).
   * Each successful call is to be matched by one `release`.
   */
  lookup(dir: LayerNode, name: string, st: Stat): LayerNode
  release(node: LayerNode): void

  stat(node: LayerNode, st: Stat): number

  /**
   * Calls `each` for every entry but `.` and `..`, in the layer's order. Whiteouts come as DT_WHT under the name hidden.
   * `ino` is what `stat` says, or 0 where a listing cannot tell.
   */
  list(dir: LayerNode, each: (name: string, type: number, ino: number) => void): number

  /**
   * `list` of a layer that has names as bytes, and nodes below 2^32 that need no release: `ino` is the entry's node.
   */
  listBytes?(dir: LayerNode, sink: EntrySink): number

  /** As `lookup`, but takes no node: 0 or `-errno`. */
  peek?(dir: LayerNode, name: string, st: Stat): number

  /** Whether `dir` hides what lower layers have under the same path. */
  isOpaque(dir: LayerNode): boolean

  readlink(node: LayerNode): string | number

  /** The layer's own bookkeeping (overlay.*, fuseoverlayfs.*) is never shown; escaped ones are unescaped. */
  getxattr(node: LayerNode, name: string): Buffer | number
  listxattr(node: LayerNode): string[] | number

  /**
   * overlayfs bookkeeping of a node, by its bare name (`redirect`, `metacopy`, `origin`, `nlink`, …), whatever the
   * namespace on disk (`trusted.overlay.` / `user.overlay.`); undefined when it has none.
   */
  overlayXattr(node: LayerNode, name: string): Buffer | undefined

  /** Opens a regular file's data read-only; an fd the caller closes, or `-errno`. */
  open(node: LayerNode): number

  /** sha256 (hex) of a regular file's data where the layer knows it without reading; undefined where it does not. */
  digest?(node: LayerNode): string | undefined

  /** Lets go of the room that nodes took which are released. */
  tighten?(): void

  close(): void
}

/** A whiteout is shown as character device 0:0 (Documentation/filesystems/overlayfs.rst, "whiteouts"). */
export function isWhiteout(st: Stat): boolean {
  return (st.mode & 0o170000) === 0o020000 && st.rdev === 0
}
