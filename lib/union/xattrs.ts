/**
 * Owns extended attributes as users see them: everything but the union's own bookkeeping; names that look like it are kept
 * escaped (lib/layer/whiteout.ts). ACLs are attributes too, and a default ACL decides how names are made in a directory.
 * `trusted.` attributes are listed for root only, as a local filesystem does (xattr(7)).
 */
import { E } from '../errno.js'
import { shownName, storedName } from '../layer/whiteout.js'
import { S } from '../sys/constants.js'
import { CAPABILITY } from '../sys/xattr.js'
import { copyUp } from './copy-up.js'
import type { Caller } from './filesystem.js'
import { type LowerRef, type Node, Presence } from './node.js'
import { settled } from './partial.js'
import { refuseChange } from './protect.js'
import type { Tree } from './tree.js'
import { chmodUpper, getxattrUpper, listxattrUpper, removexattrUpper, setxattrUpper, statUpper } from './upper.js'

/** The object of a lower layer whose attributes a node shows, which is not in the upper. */
function face(node: Node): LowerRef | null {
  if (node.dir !== null) return node.dir.lowers[0] ?? null
  if (node.extra !== null && node.extra.face !== null) return node.extra.face
  return node.layer < 0 ? null : { layer: node.layer, node: node.lower }
}

function living(node: Node): Node {
  return node.extra?.successor ?? node
}

export function getxattr(tree: Tree, target: Node, name: string): Buffer | number {
  const node = living(target)
  if (name !== CAPABILITY) return readXattr(tree, node, name)
  if (node.bare) return -E.ENODATA
  const value = readXattr(tree, node, name)
  if (value === -E.ENODATA) node.bare = true
  return value
}

function readXattr(tree: Tree, node: Node, name: string): Buffer | number {
  if (node.upper === Presence.None) {
    const at = face(node)
    return at === null ? -E.ENODATA : tree.layer(at.layer).getxattr(at.node, name)
  }
  const stored = storedName(name)
  return stored === '' ? -E.ENODATA : getxattrUpper(tree, node, stored)
}

export function listxattr(tree: Tree, caller: Caller, target: Node): string[] | number {
  const node = living(target)
  let names: string[] | number
  if (node.upper === Presence.None) {
    const at = face(node)
    names = at === null ? [] : tree.layer(at.layer).listxattr(at.node)
  } else {
    names = listxattrUpper(tree, node)
    if (typeof names !== 'number' && names.length > 0) names = names.map(shownName).filter(name => name !== '')
  }
  if (typeof names === 'number' || caller.uid === 0) return names
  return names.filter(name => !name.startsWith('trusted.'))
}

export function setxattr(
  tree: Tree,
  target: Node,
  name: string,
  value: Buffer,
  flags: number,
  killSgid: boolean,
): number {
  const node = living(target)
  if (tree.work === null) return -E.EROFS
  const stored = storedName(name)
  if (stored === '') return -E.EOPNOTSUPP
  let r = refuseChange(node)
  if (r >= 0) r = copyUp(tree, node, Presence.Meta)
  // Data that is still to be copied would take it away again.
  if (r >= 0 && name === CAPABILITY) r = settled(tree, node)
  if (r < 0) return r
  if (name === CAPABILITY) node.bare = false
  r = setxattrUpper(tree, node, stored, value, flags)
  if (r < 0) return r
  if (name === 'system.posix_acl_default' && node.dir !== null) node.dir.defaultAcl = -1
  if (killSgid) r = dropSgid(tree, node)
  return r
}

function dropSgid(tree: Tree, node: Node): number {
  const r = statUpper(tree, node, tree.st2)
  if (r < 0 || (tree.st2.mode & S.ISGID) === 0) return r
  return chmodUpper(tree, node, tree.st2.mode & 0o7777 & ~S.ISGID)
}

export function removexattr(tree: Tree, target: Node, name: string): number {
  const node = living(target)
  if (tree.work === null) return -E.EROFS
  const stored = storedName(name)
  if (stored === '') return -E.ENODATA
  const refused = refuseChange(node)
  if (refused < 0) return refused
  if (node.upper === Presence.None) {
    // Nothing is copied up only to find that there is nothing to remove.
    const there = getxattr(tree, node, name)
    if (typeof there === 'number') return there
    const r = copyUp(tree, node, Presence.Meta)
    if (r < 0) return r
  }
  const r = removexattrUpper(tree, node, stored)
  if (r >= 0 && name === 'system.posix_acl_default' && node.dir !== null) node.dir.defaultAcl = -1
  return r
}
