/**
 * Owns `TreeInode`, a file tree in memory while a layer comes in, is flattened or goes out: what a tar says of each
 * inode, plus the marks of one layer (whiteout, opaque, implicit, outer link).
 * Formats: names, targets and xattr names are byte strings; xattrs are named as a user sees them (not escaped).
 * Invariant: hard links are the same object under several names; a directory has exactly one name.
 */
import { S } from '../sys/constants.js'

export class TreeInode {
  mode: number
  uid = 0
  gid = 0
  /** Seconds, may be negative, and nanoseconds. */
  mtime = 0
  mtimeNs = 0
  /** Devices, in the "new" encoding. */
  rdev = 0
  size = 0
  /** SHA-256 (hex) of a regular file's content; '' when empty. */
  object = ''
  /** A symlink's target. */
  target = ''
  xattrs: Map<string, Buffer> | undefined = undefined
  children: Map<string, TreeInode> | undefined
  /** Hides what lower layers have in this directory. */
  opaque = false
  /** A directory that the layer does not describe: only something below it. Its attributes are the lower's, if any. */
  implicit = false
  /** A hard link to a path that this layer does not have; it takes the lower's inode when layers are flattened. */
  outerLink = ''
  /** Scratch for whoever writes the tree out. */
  nid = 0
  nlink = 0

  constructor(mode: number) {
    this.mode = mode
    this.children = (mode & S.IFMT) === S.IFDIR ? new Map<string, TreeInode>() : undefined
  }

  get isDirectory(): boolean {
    return this.children !== undefined
  }

  get isSymlink(): boolean {
    return (this.mode & S.IFMT) === S.IFLNK
  }

  get isWhiteout(): boolean {
    return (this.mode & S.IFMT) === S.IFCHR && this.rdev === 0
  }
}

/** The mark that hides a name of the layers below: character device 0:0, as overlayfs has it. */
export function whiteoutInode(): TreeInode {
  return new TreeInode(S.IFCHR)
}

/** A directory that nothing described: 0755, root's, at the epoch. */
export function implicitDirectory(): TreeInode {
  const dir = new TreeInode(S.IFDIR | 0o755)
  dir.implicit = true
  return dir
}

/**
 * The directory `name` in `dir` for what lies below it: the one that is there, else one that says nothing of its own
 * (implicit), or where the layer hides the name, a new one. `name` must not be anything else.
 */
export function passThrough(dir: TreeInode, name: string): TreeInode {
  const child = dir.children?.get(name)
  if (child !== undefined && !child.isWhiteout) return child
  const made = implicitDirectory()
  if (child !== undefined) {
    made.opaque = true
    made.implicit = false
  }
  dir.children?.set(name, made)
  return made
}
