/**
 * Owns how a union is asked for: the layers, the writable directory, the switches, and what is refused at once.
 * Paths are byte strings (lib/bytes.ts). Layers are topmost first, as in every union file.
 */
import type { Layer } from '../layer/layer.js'
import type { Filesystem } from './filesystem.js'
import type { IdMapOptions } from './id-map.js'
import { Tree } from './tree.js'
import { Union } from './union.js'

export interface UnionOptions {
  /** Topmost first. The union closes them at `destroy`. */
  readonly lowers: readonly Layer[]
  /** The writable directory, and beside it (same filesystem) the directory for what is under way. Absent: read-only. */
  readonly upper?: { readonly path: string }
  readonly work?: { readonly path: string }
  /** Refuse every change (EROFS), also with an upper. */
  readonly readOnly?: boolean
  /** No fsync: fast, and after a power loss the upper is to be thrown away. */
  readonly volatile?: boolean
  /**
   * Namespace of the bookkeeping attributes: `trusted` (what the kernel reads with all features; needs CAP_SYS_ADMIN in
   * the initial user namespace) or `user` (`-o userxattr`). Default: `trusted` where it can be written.
   */
  readonly xattrs?: 'trusted' | 'user'
  /** Write nothing that the kernel's overlayfs refuses with `userxattr`: copies are full, directory renames EXDEV. */
  readonly kernelCompatible?: boolean
  /** Be a lower of the kernel's overlayfs that reads bookkeeping of this namespace (as-lower.ts). Read-only. */
  readonly asLower?: 'trusted' | 'user'
  /** Other owners than the layers have. */
  readonly ids?: IdMapOptions
}

/**
 * Makes the merged tree. Locks the work directory and sweeps what an earlier server left in it.
 * Throws FsError: EBUSY (the work directory is in use), EXDEV (work on another filesystem than upper), ENOENT, ENOTDIR,
 * EOPNOTSUPP (the upper's filesystem cannot hold the bookkeeping), EINVAL (an upper without work, or nothing at all).
 */
export function createUnion(options: UnionOptions): Filesystem {
  return new Union(new Tree(options))
}
