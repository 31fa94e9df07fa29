/**
 * Owns the difference of two trees as a layer's tree of inodes: the sequence of layer-entries.ts put in its place. Commit
 * stores it, ChangeLayer shows it.
 */
import { implicitDirectory, type TreeInode, whiteoutInode } from '../layer/tree.js'
import { eachLayerEntry, type LayerEntry } from './layer-entries.js'
import type { MergedTree } from './merged.js'

export type NodeEntry = Extract<LayerEntry, { type: 'node' }>

/**
 * The tree that a layer on top of `before` must hold to give `after`. `make` gives the inode of an entry (for the root and
 * for a directory that is there already: that one, filled), or undefined to leave it out. Throws FsError.
 */
export function changeTree(
  before: MergedTree,
  after: MergedTree,
  make: (entry: NodeEntry, present: TreeInode | undefined) => TreeInode | undefined,
): TreeInode {
  const root = implicitDirectory()
  const byPath = new Map<string, TreeInode>()
  eachLayerEntry(before, after, entry => {
    const parts = entry.path.split('/').filter(part => part !== '')
    const name = parts.pop()
    if (name === undefined) {
      if (entry.type === 'node') make(entry, root)
      return
    }
    const siblings = directory(root, parts)
    if (entry.type === 'whiteout') siblings.set(name, whiteoutInode())
    else if (entry.type === 'link') {
      const target = byPath.get(entry.target)
      if (target !== undefined) siblings.set(name, target)
    } else {
      const present = siblings.get(name)
      const inode = make(entry, present?.isDirectory === true ? present : undefined)
      if (inode === undefined) return
      byPath.set(entry.path, inode)
      siblings.set(name, inode)
    }
  })
  return root
}

function directory(root: TreeInode, parts: readonly string[]): Map<string, TreeInode> {
  let dir = root
  for (const part of parts) {
    let child = dir.children?.get(part)
    if (child?.isDirectory !== true) {
      child = implicitDirectory()
      dir.children?.set(part, child)
    }
    dir = child
  }
  return dir.children as Map<string, TreeInode>
}
