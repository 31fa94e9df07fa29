/**
 * Owns upper -> image: what a writable layer changed becomes a layer on top of the image it stood on.
 * Only what the upper lists is looked at (lib/diff compares it with what lies below), so a commit costs what was changed.
 * Layers are topmost first where they are `Layer`s, as in union code; an image's own list is base first.
 */
import { textOf } from '../bytes.js'
import { check } from '../errno.js'
import { changeTree } from '../diff/change-tree.js'
import { MergedTree } from '../diff/merged.js'
import { xattrIndex } from '../layer/erofs-format.js'
import type { Layer } from '../layer/layer.js'
import { TreeInode } from '../layer/tree.js'
import { S } from '../sys/constants.js'
import { close } from '../sys/file.js'
import { type ConfigChange, applyChanges } from './config-change.js'
import type { StoredImage } from './images.js'
import { hostPlatform } from './manifest.js'
import { formatReference, parseReference } from './reference.js'
import type { ImageWriter } from './writer.js'

export interface CommitOptions {
  readonly names?: readonly string[]
  readonly author?: string | undefined
  readonly message?: string | undefined
  /** Docker's `--change` instructions. */
  readonly changes?: readonly ConfigChange[]
  /** What made the layer, for history. */
  readonly createdBy?: string
  /** Seconds since the epoch: the image's time, and the latest any file of the layer may have. Default: now, no clamp. */
  readonly clock?: number | undefined
  readonly warn?: (message: string) => void
}

/**
 * Commits `upper` on `lowers` (topmost first; they are what `base` shows, when there is a base) as a new image. Returns
 * it as stored. Nothing in upper or lowers is changed. Throws ImageError, IndexLimitError, TarError, FsError.
 */
export async function commitUpper(
  writer: ImageWriter,
  upper: Layer,
  lowers: readonly Layer[],
  base: StoredImage | undefined,
  options: CommitOptions = {},
): Promise<StoredImage> {
  const tree = changesTree(writer, upper, lowers, options)
  const layer = await writer.addTree(tree)
  const created = new Date(options.clock === undefined ? Date.now() : options.clock * 1000).toISOString()
  const config = applyChanges(base?.config.config ?? {}, options.changes ?? [])
  const history = [
    ...(base?.config.history ?? []),
    {
      created,
      created_by: options.createdBy ?? 'lamina commit',
      ...(options.author === undefined ? {} : { author: options.author }),
      ...(options.message === undefined ? {} : { comment: options.message }),
    },
  ]
  const { rootfs: _, ...kept } = base?.config ?? { rootfs: undefined, ...hostPlatform() }
  return writer.addImage(
    { ...kept, created, config, history, ...(options.author === undefined ? {} : { author: options.author }) },
    [...(base?.layers ?? []), layer],
    (options.names ?? []).map(name => formatReference(parseReference(name))),
  )
}

/** The layer tree that turns `lowers` into `upper` on `lowers`; its file contents are put as objects. */
export function changesTree(
  writer: ImageWriter,
  upper: Layer,
  lowers: readonly Layer[],
  options: Pick<CommitOptions, 'clock' | 'warn'> = {},
): TreeInode {
  const after = new MergedTree([upper, ...lowers])
  return changeTree(new MergedTree(lowers), after, ({ path, attributes, xattrs, target, entry }, present) => {
    const type = attributes.mode & S.IFMT
    if (type === S.IFSOCK) {
      options.warn?.(`commit: socket ${textOf(path)} is left out (a tar has none)`)
      return undefined
    }
    const inode = present !== undefined && type === S.IFDIR ? present : new TreeInode(attributes.mode)
    fill(inode, attributes, xattrs)
    if (type === S.IFLNK) {
      inode.target = target
      inode.size = target.length
    } else if (type === S.IFREG && attributes.size > 0) {
      inode.size = attributes.size
      const known = after.digest(entry)
      if (known !== undefined && writer.hasObject(known)) inode.object = known
      else {
        const fd = check(after.open(entry), 'open', textOf(path))
        try {
          inode.object = writer.putFile(fd, inode.size)
        } finally {
          close(fd)
        }
      }
    }
    return inode
  })

  function fill(
    inode: TreeInode,
    a: { mode: number; uid: number; gid: number; mtime: number; mtimeNs: number; rdev: number },
    xattrs: ReadonlyMap<string, Buffer>,
  ): void {
    inode.mode = a.mode
    inode.uid = a.uid
    inode.gid = a.gid
    inode.rdev = (a.mode & S.IFMT) === S.IFCHR || (a.mode & S.IFMT) === S.IFBLK ? a.rdev : 0
    const clamp = options.clock !== undefined && a.mtime >= options.clock
    inode.mtime = clamp ? (options.clock as number) : a.mtime
    inode.mtimeNs = clamp ? 0 : a.mtimeNs
    inode.implicit = false
    inode.xattrs = undefined
    for (const [name, value] of xattrs) {
      if (xattrIndex(name) === 0) options.warn?.(`commit: xattr ${name} is left out (no namespace for it)`)
      else (inode.xattrs ??= new Map<string, Buffer>()).set(name, Buffer.from(value))
    }
  }
}
