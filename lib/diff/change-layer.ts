/**
 * Owns the difference of two trees as a `Layer` in memory: what `commit` would store, without storing it. So a container's
 * changes can be looked at as one layer more on top of its image's; an upper alone is none, for its redirects and
 * metadata-only copies speak of what lies below.
 * Invariant: nothing but the changes is held; file data stays where it is and is opened when asked for. The two trees stay
 * open as long as the layer is used.
 */
import { E } from '../errno.js'
import { DT_WHT, type Layer, type LayerNode } from '../layer/layer.js'
import { TreeInode } from '../layer/tree.js'
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'
import { childPath } from './change.js'
import { changeTree, type NodeEntry } from './change-tree.js'
import type { MergedTree } from './merged.js'

const YES = Buffer.from('y')
let serial = 0

export class ChangeLayer implements Layer {
  readonly fsid = --serial
  readonly root: LayerNode = 0
  readonly #after: MergedTree
  /** By node: the inode, and the first path that it has. */
  readonly #inodes: TreeInode[] = []
  readonly #paths: string[] = []

  /** Throws FsError. */
  constructor(before: MergedTree, after: MergedTree) {
    this.#after = after
    const seen = new Set<TreeInode>()
    const walk: { inode: TreeInode; path: string }[] = [{ inode: changeTree(before, after, described), path: '/' }]
    // The list grows while it is gone through: parents first, however deep.
    for (const { inode, path } of walk) {
      if (seen.has(inode)) {
        inode.nlink++
        continue
      }
      seen.add(inode)
      inode.nlink = 1
      inode.nid = this.#inodes.push(inode) - 1
      this.#paths.push(path)
      for (const [name, child] of inode.children ?? []) walk.push({ inode: child, path: childPath(path, name) })
    }
  }

  #inode(node: LayerNode): TreeInode {
    return this.#inodes[node] as TreeInode
  }

  lookup(dir: LayerNode, name: string, st: Stat): LayerNode {
    const { children } = this.#inode(dir)
    if (children === undefined) return -E.ENOTDIR
    const inode = children.get(name)
    if (inode === undefined) return -E.ENOENT
    this.stat(inode.nid, st)
    return inode.nid
  }

  release(): void {}

  stat(node: LayerNode, st: Stat): number {
    const { mode, uid, gid, size, target, mtime, mtimeNs, rdev, nlink, isDirectory } = this.#inode(node)
    Object.assign(st, { mode, uid, gid, mtime, mtimeNs, rdev, ino: node + 1 })
    st.size = target === '' ? size : target.length
    st.nlink = isDirectory ? 2 : nlink
    return 0
  }

  list(dir: LayerNode, each: (name: string, type: number, ino: number) => void): number {
    const { children } = this.#inode(dir)
    if (children === undefined) return -E.ENOTDIR
    for (const [name, inode] of children)
      each(name, inode.isWhiteout ? DT_WHT : (inode.mode & S.IFMT) >> 12, inode.nid + 1)
    return 0
  }

  isOpaque(): boolean {
    return false
  }

  readlink(node: LayerNode): string | number {
    const { mode, target } = this.#inode(node)
    return (mode & S.IFMT) === S.IFLNK ? target : -E.EINVAL
  }

  getxattr(node: LayerNode, name: string): Buffer | number {
    return this.#inode(node).xattrs?.get(name) ?? -E.ENODATA
  }

  listxattr(node: LayerNode): string[] {
    return [...(this.#inode(node).xattrs?.keys() ?? [])]
  }

  overlayXattr(node: LayerNode, name: string): Buffer | undefined {
    return name === 'implicit' && this.#inode(node).implicit ? YES : undefined
  }

  open(node: LayerNode): number {
    const entry = this.#after.resolve(this.#paths[node] as string)
    if (entry === undefined) return -E.ENOENT
    try {
      return this.#after.open(entry)
    } finally {
      this.#after.release(entry)
    }
  }

  close(): void {}
}

function described({ attributes, xattrs, target }: NodeEntry, present?: TreeInode): TreeInode {
  const { mode, uid, gid, size, mtime, mtimeNs, rdev } = attributes
  const inode = present ?? new TreeInode(mode)
  const regular = (mode & S.IFMT) === S.IFREG
  Object.assign(inode, { mode, uid, gid, mtime, mtimeNs, rdev, target, implicit: false, size: regular ? size : 0 })
  if (xattrs.size > 0) inode.xattrs = new Map(xattrs)
  return inode
}
