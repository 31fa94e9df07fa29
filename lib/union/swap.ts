/**
 * Owns the passthrough trap. A lower file that readers hold open or mapped in passthrough mode pins its backing file on the
 * nodeid: a writer must not come in by the same nodeid, or the kernel would write to the lower. So the file is copied up, a
 * new nodeid takes its names over, and the caller answers ESTALE: the kernel looks the name up again and finds the copy.
 * Old readers keep the lower's bytes; the inode number stays the same. When the last of them is gone the old nodeid means
 * the same as the new one (`Tree.get`).
 */
import { E } from '../errno.js'
import { extraOf, type Node, Presence } from './node.js'
import { setProtection } from './protect.js'
import type { Tree } from './tree.js'

/** Whether changing the data of this node must go through another nodeid. */
export function mustSwap(node: Node): boolean {
  return node.extra !== null && node.extra.lowerPassthrough > 0
}

/** Moves the names of a node that has been copied up to a new node. Returns -ESTALE. */
export function swap(tree: Tree, node: Node): number {
  const old = extraOf(node)
  if (old.successor !== null) return -E.ESTALE
  const { parent, name } = node
  // Nobody can look up a file without a name again: this open goes to the copy by itself.
  const fresh = tree.make(parent, name, node.ino, node.type, Presence.Full, -1, 0)
  if (old.names !== null) {
    for (const other of old.names) tree.addName(fresh, other.parent, other.name)
    old.names = null
  }
  if (tree.linked.get(node.ino) === node) {
    tree.linked.set(node.ino, fresh)
    // Names of a hard-linked file that the kernel has cached still lead to the old nodeid.
    tree.host.invalidateNames()
  }
  setProtection(fresh, old.protect)
  if (old.index !== '' || old.fd >= 0) {
    const extra = extraOf(fresh)
    extra.index = old.index
    extra.nlinkOffset = old.nlinkOffset
    extra.fd = old.fd
    old.index = ''
    old.fd = -1
  }
  node.parent = null
  node.name = ''
  node.upper = Presence.None
  old.successor = fresh
  tree.host.invalidateAttributes(node.id)
  extraOf(fresh).predecessors++
  return -E.ESTALE
}
