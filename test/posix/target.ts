/**
 * Owns what a filesystem under test must offer the suite: `Target` makes `Tree`s, one fresh writable tree each over a
 * given population, and can look below the surface (lowers, raw upper) where there is one.
 */
import type { Item } from './population.js'
import type { Vfs } from './vfs.js'

/** Layers of a tree, base first, and what its upper holds before the first mount. */
export interface Layers {
  readonly lowers: readonly (readonly Item[])[]
  readonly upper?: readonly Item[]
}

export interface Tree {
  readonly fs: Vfs
  /** The raw upper directory, undefined where the tree has none. */
  readonly upper: string | undefined
  /** The work directory, undefined where the tree has none. */
  readonly work: string | undefined
  /** Where the tree can be reached as a path by other processes, undefined for a tree in process. */
  readonly path: string | undefined
  /** Everything open is gone, and the tree is mounted anew from what is on disk. `fs` stays the object to use. */
  remount(): void
  /** Unmounts, and returns what is wrong: a lower that changed, something left in work. Empty is good. */
  close(): string[]
}

export interface Target {
  readonly name: string
  /** Calls go through a kernel: permissions are checked, files can be mapped and locked. */
  readonly kernel: boolean
  /** Has lowers and an upper (the host directory has not). */
  readonly layered: boolean
  /** What is left out here, by the id of a difference or by a case's title, with the reason to print. */
  readonly differences: Readonly<Record<string, string>>
  make(layers: Layers): Tree
  /** Frees what the target itself holds. */
  close(): void
}
