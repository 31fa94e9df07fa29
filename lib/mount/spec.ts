/**
 * Owns how a mount is described: plain JSON data, so that it crosses threads and processes and is kept in the registry.
 * Paths are text and absolute (the server's directory is `/`). Layers are topmost first, as in union code.
 */

import type { IdMapOptions } from '../union/id-map.js'

/** A directory of this machine, or a layer index (EROFS) whose file contents are in a directory of objects. */
export type LowerSpec =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'index'; readonly path: string; readonly objects: string }

/** What becomes one tree. */
export interface StackSpec {
  /** Topmost first; any number. */
  readonly lowers: readonly LowerSpec[]
  /** The directory that takes the changes, and beside it, on the same filesystem, the one for what is under way. */
  readonly upper?: string
  readonly work?: string
  /** Refuse every change. Implied without `upper`. */
  readonly readOnly?: boolean
  /** fsync does nothing: fast; after a power loss the upper is to be thrown away. */
  readonly volatile?: boolean
  /** Write only what the kernel's overlayfs can mount with `-o userxattr`. */
  readonly kernelCompatible?: boolean
  /** Be a lower of the kernel's overlayfs that reads bookkeeping of this namespace (overlay.ts). */
  readonly asLower?: 'trusted' | 'user'
  /** Show other owners than the layers have: shifted ranges, or all squashed to one (lib/union/id-map.ts). */
  readonly ids?: IdMapOptions
}

export type Transport = 'direct' | 'fuse-native'

/**
 * Who makes one tree of the layers: the union of this package, or the kernel's overlayfs on top of lowers that the union merges
 * and describes (overlay.ts).
 */
export type Driver = 'fuse' | 'overlay'

export interface MountSpec extends StackSpec {
  /** Default `fuse`. */
  readonly driver?: Driver
  /** Other users may use the mount. Default: yes where the process may say so (root, user namespaces). */
  readonly allowOther?: boolean
  /** POSIX ACLs. Default: yes. Without, other users' walks are cheaper. */
  readonly acl?: boolean
  /** Give the kernel the files themselves for reading and writing. Default: where it can. */
  readonly passthrough?: boolean
  /** Let the kernel cache writes where there is no passthrough. Default: yes for a writable mount. */
  readonly writeback?: boolean
  /**
   * Where there is no passthrough, have files opened and closed without a request. Default: if all lowers are indexes, and
   * nobody here can make a file immutable or append-only (the machine's root can): what may not be written is told too late.
   */
  readonly noOpen?: boolean
  /** What /proc/mounts shows as the source. Default `lamina`. */
  readonly source?: string
  /** Mount flags by name. */
  readonly nosuid?: boolean
  readonly nodev?: boolean
  readonly transport?: Transport
}

/** Whether a mount of `spec` takes changes. */
export function isWritable(spec: StackSpec): boolean {
  return spec.upper !== undefined && spec.readOnly !== true
}
