/**
 * Owns tree -> index: lays a `TreeInode` tree out as an EROFS image (erofs-format.ts says which subset, and why).
 * Two passes, since offsets depend on all earlier inodes: the first gives every inode its slot, the second writes.
 * Order in the file: superblock, inodes breadth-first with the root in the first slot (its number has only 16 bits),
 * shared xattrs, directory and symlink blocks that do not fit beside their inode.
 * Invariant: the same tree gives the same bytes, in whatever order its names were added.
 */
import { S } from '../sys/constants.js'
import {
  BLOCK,
  BLOCK_BITS,
  COMPAT_CHECKSUM,
  COMPAT_MTIME,
  crc32c,
  FIRST_NID,
  FT_OF_MODE,
  INCOMPAT_CHUNKED,
  Layout,
  MAGIC,
  MAX_CHUNK_BITS,
  NULL_BLOCK,
  redirectOf,
  SLOT,
  SUPERBLOCK_AT,
  xattrIndex,
  xattrSuffix,
} from './erofs-format.js'
import { seal, sealSize } from './index-bytes.js'
import type { TreeInode } from './tree.js'

/** A directory's tail stays beside its inode up to this size; longer ones get a block of their own. */
const INLINE_TAIL = 2048
const DIRENT = 12
const XATTR_HEADER = 12
const MAX_XATTRS = 256 * 1024

/** One inode's place and form, decided in the first pass. */
interface Plan {
  readonly inode: TreeInode
  readonly parent: TreeInode
  /** Byte offset in the image. */
  at: number
  readonly header: 32 | 64
  layout: number
  /** Bytes of its xattrs. They are laid out again when they are written: kept, they would be most of the memory. */
  readonly xattrs: number
  /** Bytes behind the xattrs: directory tail, symlink target or chunk table. */
  tail: number
  /** Blocks of its own, and where they start counting from the data area. */
  blocks: number
  firstBlock: number
  /** Directories: sorted names with `.` and `..`, and how many entries each block takes. */
  readonly names: string[] | undefined
  readonly perBlock: number[] | undefined
  size: number
}

interface XattrPlan {
  readonly shared: number[]
  readonly inline: Xattr[]
  readonly size: number
}

interface Xattr {
  readonly index: number
  readonly suffix: string
  /** Byte string. */
  readonly value: string
}

/** The image could not be laid out: a limit of the format. `path` is not known here, `reason` is one line. */
export class IndexLimitError extends Error {
  override readonly name = 'IndexLimitError'
  readonly code = 'INDEX_LIMIT'
}

/**
 * The index of `root` (a directory) as one buffer, ready to be written to a file: a valid EROFS image. Sets `nid` and
 * `nlink` of every inode. Throws IndexLimitError when an inode's xattrs or a name exceed what EROFS can hold.
 */
export function writeIndex(root: TreeInode): Buffer {
  return new IndexWriter(root).write()
}

class IndexWriter {
  readonly #root: TreeInode
  readonly #plans: Plan[] = []
  readonly #redirects = new Map<string, number>()
  readonly #times = new Map<number, number>()
  readonly #sharedIds = new Map<string, number>()
  readonly #sharedList: Xattr[] = []
  readonly #xattrUses = new Map<string, number>()
  #sharedBytes = 0
  #epoch = 0
  #image: Buffer = Buffer.alloc(0)

  constructor(root: TreeInode) {
    this.#root = root
  }

  write(): Buffer {
    const order = this.#order()
    this.#chooseEpoch()
    let at = FIRST_NID * SLOT
    let blocks = 0
    for (const [i, inode] of order.inodes.entries()) {
      const plan = this.#plan(inode, order.parents[i] as TreeInode)
      at = place(plan, at)
      plan.firstBlock = blocks
      blocks += plan.blocks
      inode.nid = plan.at / SLOT
      this.#plans.push(plan)
    }
    if (this.#root.nid > 0xffff) throw new IndexLimitError('root directory has too large xattrs')
    const sharedBlock = Math.ceil(at / BLOCK)
    const dataBlock = sharedBlock + Math.ceil(this.#sharedBytes / BLOCK)
    const total = dataBlock + blocks
    this.#image = Buffer.alloc(total * BLOCK + sealSize(total))
    for (const plan of this.#plans) this.#writeInode(plan, dataBlock)
    this.#writeShared(sharedBlock)
    this.#writeSuperblock(total, sharedBlock)
    seal(this.#image)
    return this.#image
  }

  /** Breadth-first, each inode once; counts links, and what is worth sharing. */
  #order(): { inodes: TreeInode[]; parents: TreeInode[] } {
    const inodes = [this.#root]
    const parents = [this.#root]
    this.#root.nid = 0
    this.#visit(this.#root)
    this.#root.nlink = 2
    const seen = new Set<TreeInode>()
    for (let i = 0; i < inodes.length; i++) {
      const dir = inodes[i] as TreeInode
      if (dir.children === undefined) continue
      for (const name of [...dir.children.keys()].sort()) {
        if (name.length > 255 || name.length === 0) throw new IndexLimitError(`name of ${name.length} bytes`)
        const child = dir.children.get(name) as TreeInode
        if (child.children === undefined) {
          if (seen.has(child)) {
            child.nlink++
            continue
          }
          seen.add(child)
          child.nlink = 1
        } else {
          child.nlink = 2
          dir.nlink++
        }
        this.#visit(child)
        inodes.push(child)
        parents.push(dir)
      }
    }
    return { inodes, parents }
  }

  #visit(inode: TreeInode): void {
    if (inode.object !== '') this.#redirects.set(inode.object, (this.#redirects.get(inode.object) ?? 0) + 1)
    if (inode.mtimeNs === 0) this.#times.set(inode.mtime, (this.#times.get(inode.mtime) ?? 0) + 1)
    for (const [name, value] of inode.xattrs ?? []) {
      const key = `${name}\0${value.latin1Slice()}`
      this.#xattrUses.set(key, (this.#xattrUses.get(key) ?? 0) + 1)
    }
  }

  /** Compact inodes have no time of their own on kernels before 6.15: the most common time saves the most. */
  #chooseEpoch(): void {
    let most = 0
    for (const [time, count] of this.#times) {
      if (count > most || (count === most && time < this.#epoch)) {
        most = count
        this.#epoch = time
      }
    }
  }

  #plan(inode: TreeInode, parent: TreeInode): Plan {
    const xattrs = this.#planXattrs(inode)?.size ?? 0
    const type = inode.mode & S.IFMT
    const names = inode.children && [...inode.children.keys(), '.', '..'].sort()
    const perBlock: number[] | undefined = names && []
    const size = names && perBlock ? layDirectory(names, perBlock) : type === S.IFLNK ? inode.target.length : inode.size
    const compact =
      inode.mtime === this.#epoch &&
      inode.mtimeNs === 0 &&
      inode.uid < 0x10000 &&
      inode.gid < 0x10000 &&
      inode.nlink < 0x10000 &&
      size < 0x100000000
    const plan: Plan = {
      inode,
      parent,
      at: 0,
      header: compact ? 32 : 64,
      layout: Layout.FlatPlain,
      xattrs,
      tail: 0,
      blocks: 0,
      firstBlock: 0,
      names,
      perBlock,
      size,
    }
    if (type === S.IFREG && size > 0) {
      plan.layout = Layout.ChunkBased
      plan.tail = 4 * Math.max(1, Math.ceil(size / 2 ** MAX_CHUNK_BITS))
    } else if (type === S.IFLNK) {
      if (plan.header + xattrs + size <= BLOCK) {
        plan.layout = Layout.FlatInline
        plan.tail = size
      } else plan.blocks = 1
    } else if (type === S.IFDIR) {
      const rest = size % BLOCK
      plan.blocks = Math.floor(size / BLOCK)
      if (rest > 0 && rest <= INLINE_TAIL) {
        plan.layout = Layout.FlatInline
        plan.tail = rest
      } else if (rest > 0) plan.blocks++
    }
    return plan
  }

  #planXattrs(inode: TreeInode): XattrPlan | undefined {
    const all: [Xattr, boolean][] = []
    if (inode.xattrs !== undefined)
      for (const name of [...inode.xattrs.keys()].sort()) {
        const value = (inode.xattrs.get(name) as Buffer).latin1Slice()
        const index = xattrIndex(name)
        if (index === 0 || value.length > 0xffff) throw new IndexLimitError(`xattr ${name} of ${value.length} bytes`)
        const suffix = escapeOverlay(index, xattrSuffix(name, index))
        if (suffix.length > 255) throw new IndexLimitError(`xattr name of ${name.length} bytes`)
        all.push([{ index, suffix, value }, (this.#xattrUses.get(`${name}\0${value}`) ?? 0) > 1])
      }
    if (inode.object !== '') {
      all.push([{ index: 4, suffix: 'overlay.metacopy', value: '' }, true])
      const shared = (this.#redirects.get(inode.object) ?? 0) > 1
      all.push([{ index: 4, suffix: 'overlay.redirect', value: redirectOf(inode.object) }, shared])
    }
    if (inode.opaque) all.push([{ index: 4, suffix: 'overlay.opaque', value: 'y' }, true])
    if (inode.implicit) all.push([{ index: 4, suffix: 'overlay.implicit', value: '' }, true])
    if (inode.outerLink !== '') all.push([{ index: 4, suffix: 'overlay.link', value: inode.outerLink }, false])
    if (all.length === 0) return undefined
    const shared: number[] = []
    const inline: Xattr[] = []
    let size = XATTR_HEADER
    for (const [xattr, share] of all) {
      if (share && shared.length < 255) {
        shared.push(this.#share(xattr))
        size += 4
      } else {
        inline.push(xattr)
        size += entrySize(xattr)
      }
    }
    if (size > MAX_XATTRS) throw new IndexLimitError(`${size} bytes of xattrs on one file`)
    return { shared, inline, size }
  }

  #share(xattr: Xattr): number {
    const key = `${xattr.index} ${xattr.suffix}\0${xattr.value}`
    let id = this.#sharedIds.get(key)
    if (id === undefined) {
      id = this.#sharedBytes / 4
      this.#sharedIds.set(key, id)
      this.#sharedList.push(xattr)
      this.#sharedBytes += entrySize(xattr)
    }
    return id
  }

  #writeInode(plan: Plan, dataBlock: number): void {
    const { inode, at, header } = plan
    const image = this.#image
    const type = inode.mode & S.IFMT
    const xattrSize = plan.xattrs
    let u = 0
    if (plan.layout === Layout.ChunkBased) u = chunkBits(plan.size) - BLOCK_BITS
    else if (type === S.IFCHR || type === S.IFBLK) u = inode.rdev
    else if (plan.blocks > 0) u = dataBlock + plan.firstBlock
    image.writeUInt16LE((header === 64 ? 1 : 0) | (plan.layout << 1), at)
    image.writeUInt16LE(xattrSize === 0 ? 0 : (xattrSize - XATTR_HEADER) / 4 + 1, at + 2)
    image.writeUInt16LE(inode.mode, at + 4)
    image.writeUInt32LE(u >>> 0, at + 16)
    image.writeUInt32LE(plan.at / SLOT, at + 20)
    if (header === 32) {
      image.writeUInt16LE(inode.nlink, at + 6)
      image.writeUInt32LE(plan.size, at + 8)
      image.writeUInt16LE(inode.uid, at + 24)
      image.writeUInt16LE(inode.gid, at + 26)
    } else {
      image.writeBigUInt64LE(BigInt(plan.size), at + 8)
      image.writeUInt32LE(inode.uid, at + 24)
      image.writeUInt32LE(inode.gid, at + 28)
      image.writeBigInt64LE(BigInt(inode.mtime), at + 32)
      image.writeUInt32LE(inode.mtimeNs, at + 40)
      image.writeUInt32LE(inode.nlink, at + 44)
    }
    const xattrs = xattrSize === 0 ? undefined : this.#planXattrs(inode)
    if (xattrs !== undefined) this.#writeXattrs(xattrs, at + header)
    const tailAt = at + header + xattrSize
    if (plan.layout === Layout.ChunkBased) {
      for (let i = 0; i < plan.tail; i += 4) image.writeUInt32LE(NULL_BLOCK, tailAt + i)
    } else if (type === S.IFLNK) {
      image.latin1Write(inode.target, plan.blocks > 0 ? (dataBlock + plan.firstBlock) * BLOCK : tailAt)
    } else if (plan.names) this.#writeDirectory(plan, (dataBlock + plan.firstBlock) * BLOCK, tailAt)
  }

  #writeDirectory(plan: Plan, blocksAt: number, tailAt: number): void {
    const names = plan.names ?? []
    const children = plan.inode.children
    const image = this.#image
    let next = 0
    plan.perBlock?.forEach((count, b) => {
      const start = b < plan.blocks ? blocksAt + b * BLOCK : tailAt
      let nameoff = count * DIRENT
      for (let i = 0; i < count; i++) {
        const name = names[next++] as string
        const child = name === '.' ? plan.inode : name === '..' ? plan.parent : (children?.get(name) as TreeInode)
        const at = start + i * DIRENT
        image.writeUInt32LE(child.nid >>> 0, at)
        image.writeUInt32LE(Math.floor(child.nid / 0x100000000), at + 4)
        image.writeUInt16LE(nameoff, at + 8)
        image[at + 10] = FT_OF_MODE[child.mode >>> 12] ?? 0
        image.latin1Write(name, start + nameoff)
        nameoff += name.length
      }
    })
  }

  #writeXattrs(plan: XattrPlan, at: number): void {
    this.#image[at + 4] = plan.shared.length
    let p = at + XATTR_HEADER
    for (const id of plan.shared) {
      this.#image.writeUInt32LE(id, p)
      p += 4
    }
    for (const xattr of plan.inline) p += this.#writeXattr(xattr, p)
  }

  #writeXattr(xattr: Xattr, at: number): number {
    this.#image[at] = xattr.suffix.length
    this.#image[at + 1] = xattr.index
    this.#image.writeUInt16LE(xattr.value.length, at + 2)
    this.#image.latin1Write(xattr.suffix, at + 4)
    this.#image.latin1Write(xattr.value, at + 4 + xattr.suffix.length)
    return entrySize(xattr)
  }

  #writeShared(block: number): void {
    let at = block * BLOCK
    for (const xattr of this.#sharedList) at += this.#writeXattr(xattr, at)
  }

  #writeSuperblock(blocks: number, sharedBlock: number): void {
    const sb = this.#image.subarray(SUPERBLOCK_AT, SUPERBLOCK_AT + 128)
    sb.writeUInt32LE(MAGIC, 0)
    sb.writeUInt32LE(COMPAT_CHECKSUM | COMPAT_MTIME, 8)
    sb[12] = BLOCK_BITS
    sb.writeUInt16LE(this.#root.nid, 14)
    sb.writeBigUInt64LE(BigInt(this.#plans.length), 16)
    sb.writeBigInt64LE(BigInt(this.#epoch), 24)
    sb.writeUInt32LE(blocks, 36)
    sb.writeUInt32LE(sharedBlock, 44)
    sb.writeUInt32LE(INCOMPAT_CHUNKED, 80)
    sb.writeUInt32LE(crc32c(this.#image.subarray(SUPERBLOCK_AT, BLOCK)), 4)
  }
}

/** overlayfs's own names inside a layer's content go one level down (overlayfs.rst, "Nesting overlayfs mounts"). */
function escapeOverlay(index: number, suffix: string): string {
  return (index === 1 || index === 4) && suffix.startsWith('overlay.') ? `overlay.${suffix}` : suffix
}

function entrySize(xattr: Xattr): number {
  return (4 + xattr.suffix.length + xattr.value.length + 3) & ~3
}

function chunkBits(size: number): number {
  let bits = BLOCK_BITS
  while (bits < MAX_CHUNK_BITS && 2 ** bits < size) bits++
  return bits
}

/** Fills `perBlock` with the number of entries of each directory block; returns the directory's size. */
function layDirectory(names: string[], perBlock: number[]): number {
  let used = 0
  let count = 0
  for (const name of names) {
    const need = DIRENT + name.length
    if (used + need > BLOCK) {
      perBlock.push(count)
      used = 0
      count = 0
    }
    used += need
    count++
  }
  perBlock.push(count)
  const rest = used > INLINE_TAIL ? BLOCK : used
  return (perBlock.length - 1) * BLOCK + rest
}

/** Gives the inode the first slot from `at` on where its tail crosses no block; returns the offset behind it. */
function place(plan: Plan, at: number): number {
  const head = plan.header + plan.xattrs
  const inline = plan.layout === Layout.FlatInline && plan.tail > 0
  if (inline) {
    const symlink = plan.names === undefined
    while (!sameBlock(symlink ? at : at + head, at + head + plan.tail - 1)) at += SLOT
  }
  plan.at = at
  return Math.ceil((at + head + plan.tail) / SLOT) * SLOT
}

function sameBlock(first: number, last: number): boolean {
  return Math.floor(first / BLOCK) === Math.floor(last / BLOCK)
}
