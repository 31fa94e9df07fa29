/** Owns one subtree of a merged tree as tar entries under a name of its own: `cp IMAGE:PATH -`. Sockets are left out. */
import { TreeInode } from '../layer/tree.js'
import type { TarSource } from '../layer/tar-write.js'
import { S } from '../sys/constants.js'
import { inodeOf, isDirectory, isRegular, isSymlink } from './change.js'
import { chunksOf } from './layer-tar.js'
import type { Entry, MergedTree } from './merged.js'

/** Entries of `top` and all below it; `name` stands for `top` itself ('': its children lie at the tar's root). */
export function subtreeTar(tree: MergedTree, top: Entry, name: string): TarSource[] {
  const entries: TarSource[] = []
  const first = new Map<string, string>()
  const prefix = top.path === '/' ? 0 : top.path.length
  tree.walk(top, entry => {
    const a = entry.attributes
    const rest = entry.path === top.path ? '' : entry.path.slice(prefix)
    const shown = name + rest === '' ? './' : `${name}${rest}`.replace(/^\//, '')
    if ((a.mode & S.IFMT) === S.IFSOCK) return
    const inode = new TreeInode(a.mode)
    Object.assign(inode, { uid: a.uid, gid: a.gid, mtime: a.mtime, mtimeNs: a.mtimeNs, rdev: a.rdev })
    if (a.nlink > 1 && !isDirectory(a)) {
      const link = first.get(inodeOf(a))
      if (link !== undefined) {
        entries.push({ name: shown, inode, link })
        return
      }
      first.set(inodeOf(a), shown)
    }
    if (isSymlink(a)) inode.target = tree.readlink(entry)
    const xattrs = tree.xattrs(entry)
    if (xattrs.size > 0) inode.xattrs = xattrs
    const { path } = entry
    if (isRegular(a)) {
      inode.size = a.size
      entries.push({ name: shown, inode, content: () => chunksOf(tree, path) })
    } else entries.push({ name: shown, inode })
  })
  return entries
}
