/**
 * Owns how a union looks on which the kernel's overlayfs stands (lib/mount/overlay.ts). A regular file whose data is an object of a
 * store says so by `overlay.metacopy` and `overlay.redirect`: overlayfs follows them into the objects directory, its data-only
 * lower, so the data is read without this server (Documentation/filesystems/overlayfs.rst, "Data-only lower layers"). A
 * tree's own attributes of such names are shown as overlayfs expects them of a lower, escaped by one more `overlay.`.
 * Invariant: what a layer says about itself is never taken for ours: only a digest of an index makes a redirect.
 */
import { E } from '../errno.js'
import { EMPTY_SHA256, redirectOf } from '../layer/erofs-format.js'
import { bareName, shownName, storedName } from '../layer/whiteout.js'
import { S } from '../sys/constants.js'
import type { Caller } from './filesystem.js'
import type { Node } from './node.js'
import type { Tree } from './tree.js'
import { getxattr, listxattr } from './xattrs.js'

const NOTHING = Buffer.alloc(0)

/** `prefix` is `trusted.overlay.` or `user.overlay.`, whichever the mount above reads. */
export function getxattrAsLower(tree: Tree, node: Node, name: string, prefix: string): Buffer | number {
  if (!name.startsWith(prefix)) return getxattr(tree, node, name)
  const own = shownName(name)
  if (own !== '') return getxattr(tree, node, own)
  const bare = bareName(name)
  if (bare !== 'metacopy' && bare !== 'redirect') return -E.ENODATA
  const hex = digestOf(tree, node)
  if (hex === undefined) return -E.ENODATA
  return bare === 'metacopy' ? NOTHING : Buffer.from(redirectOf(hex), 'latin1')
}

/** Ours are left out: overlayfs asks for those by name, and shows none of them. */
export function listxattrAsLower(tree: Tree, caller: Caller, node: Node, prefix: string): string[] | number {
  const names = listxattr(tree, caller, node)
  if (typeof names === 'number') return names
  return names.map(name => (name.startsWith(prefix) ? storedName(name) : name))
}

/** SHA-256 (hex) of the object that has a file's data; undefined where it has none, or is empty. */
function digestOf(tree: Tree, node: Node): string | undefined {
  if (node.type !== S.IFREG || node.layer < 0) return undefined
  const hex = tree.layer(node.layer).digest?.(node.lower)
  return hex === EMPTY_SHA256 ? undefined : hex
}
