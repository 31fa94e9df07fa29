/**
 * Owns changes -> the entries of a layer tar: what commit, build and `diff --tar` give to `writeTar` (lib/layer/tar-write).
 * Formats: OCI layer: whiteouts as `.wh.NAME`, names relative, parents first, hard links by name. Sockets are left out, as
 * Docker leaves them out: a tar cannot hold them.
 * Invariant: the entries depend on the two trees alone, so the same change gives the same bytes, digest and layer.
 */
import { FsError, E } from '../errno.js'
import { TreeInode } from '../layer/tree.js'
import type { TarSource } from '../layer/tar-write.js'
import { S } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { type Attributes, type Change, isRegular } from './change.js'
import type { CompareOptions } from './compare.js'
import { readFully } from './content.js'
import { eachLayerEntry } from './layer-entries.js'
import type { MergedTree } from './merged.js'

const CHUNK = 1 << 20

/**
 * The entries of the layer that turns `before` into `after`. File data is read when an entry's `content` is iterated, so
 * both trees stay open until the tar is written. Throws FsError.
 */
export function layerTar(
  before: MergedTree,
  after: MergedTree,
  options: Pick<CompareOptions, 'within'> = {},
): { readonly entries: TarSource[]; readonly changes: Change[] } {
  const entries: TarSource[] = []
  const changes = eachLayerEntry(
    before,
    after,
    entry => {
      const name = entry.path === '/' ? './' : entry.path.slice(1)
      if (entry.type === 'whiteout') {
        entries.push({ name: whiteoutName(name), inode: new TreeInode(S.IFREG | 0o600) })
        return
      }
      if ((entry.attributes.mode & S.IFMT) === S.IFSOCK) return
      const inode = inodeOf(entry.attributes)
      if (entry.type === 'link') {
        entries.push({ name, inode, link: entry.target.slice(1) })
        return
      }
      inode.target = entry.target
      if (entry.xattrs.size > 0) inode.xattrs = new Map(entry.xattrs)
      const { path } = entry.entry
      if (isRegular(entry.attributes)) entries.push({ name, inode, content: () => chunksOf(after, path) })
      else entries.push({ name, inode })
    },
    options,
  )
  return { entries, changes }
}

function whiteoutName(name: string): string {
  const at = name.lastIndexOf('/') + 1
  return `${name.slice(0, at)}.wh.${name.slice(at)}`
}

function inodeOf(a: Attributes): TreeInode {
  const inode = new TreeInode(a.mode)
  inode.uid = a.uid
  inode.gid = a.gid
  inode.mtime = a.mtime
  inode.mtimeNs = a.mtimeNs
  inode.rdev = a.rdev
  inode.size = isRegular(a) ? a.size : 0
  return inode
}

/** Data of the regular file at `path`, 1 MiB at a time. Throws FsError. */
export function* chunksOf(tree: MergedTree, path: string): Generator<Buffer> {
  const entry = tree.resolve(path)
  if (entry === undefined) throw new FsError(E.ENOENT, 'open', path)
  try {
    const fd = tree.open(entry)
    try {
      for (let at = 0; ;) {
        const chunk = Buffer.allocUnsafeSlow(CHUNK)
        const n = readFully(fd, chunk, at, path)
        if (n > 0) yield chunk.subarray(0, n)
        if (n < CHUNK) return
        at += n
      }
    } finally {
      close(fd)
    }
  } finally {
    tree.release(entry)
  }
}
