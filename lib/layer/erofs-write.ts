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
  DIRENT,
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
import {
  INLINE_TAIL,
  XATTR_HEADER,
  METACOPY,
  REDIRECT,
  OBJECT_XATTRS,
  MAX_XATTRS,
  chunkBits,
  entrySize,
  escapeOverlay,
  layDirectory,
  place,
  type Plan,
  type XattrPlan,
  type Xattr,
} from './erofs-layout.js'
import { seal, sealSize } from './index-bytes.js'
import type { TreeInode } from './tree.js'

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
  #view: DataView = new DataView(new ArrayBuffer(0))
  #metacopy = -1

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
    this.#view = new DataView(this.#image.buffer, this.#image.byteOffset, this.#image.length)
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
    const xattrs = this.#isPlain(inode) ? this.#objectXattrs() : (this.#planXattrs(inode)?.size ?? 0)
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

  /** A file that has an object of its own and no other xattr: most are, and their layout is always the same. */
  #isPlain({ object, xattrs, outerLink, opaque, implicit }: TreeInode): boolean {
    return (
      object !== '' &&
      xattrs === undefined &&
      outerLink === '' &&
      !opaque &&
      !implicit &&
      this.#redirects.get(object) === 1
    )
  }

  #objectXattrs(): number {
    if (this.#metacopy < 0) this.#metacopy = this.#share(METACOPY)
    return OBJECT_XATTRS
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
      all.push([METACOPY, true])
      const shared = (this.#redirects.get(inode.object) ?? 0) > 1
      all.push([{ index: 4, suffix: REDIRECT, value: redirectOf(inode.object) }, shared])
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
    const view = this.#view
    view.setUint16(at, (header === 64 ? 1 : 0) | (plan.layout << 1), true)
    view.setUint16(at + 2, xattrSize === 0 ? 0 : (xattrSize - XATTR_HEADER) / 4 + 1, true)
    view.setUint16(at + 4, inode.mode, true)
    view.setUint32(at + 16, u, true)
    view.setUint32(at + 20, plan.at / SLOT, true)
    if (header === 32) {
      view.setUint16(at + 6, inode.nlink, true)
      view.setUint32(at + 8, plan.size, true)
      view.setUint16(at + 24, inode.uid, true)
      view.setUint16(at + 26, inode.gid, true)
    } else {
      this.#setWide(at + 8, plan.size)
      view.setUint32(at + 24, inode.uid, true)
      view.setUint32(at + 28, inode.gid, true)
      this.#setWide(at + 32, inode.mtime)
      view.setUint32(at + 40, inode.mtimeNs, true)
      view.setUint32(at + 44, inode.nlink, true)
    }
    if (this.#isPlain(inode)) this.#writeObjectXattrs(inode.object, at + header)
    else {
      const xattrs = xattrSize === 0 ? undefined : this.#planXattrs(inode)
      if (xattrs !== undefined) this.#writeXattrs(xattrs, at + header)
    }
    const tailAt = at + header + xattrSize
    if (plan.layout === Layout.ChunkBased) {
      for (let i = 0; i < plan.tail; i += 4) image.writeUInt32LE(NULL_BLOCK, tailAt + i)
    } else if (type === S.IFLNK) {
      image.latin1Write(inode.target, plan.blocks > 0 ? (dataBlock + plan.firstBlock) * BLOCK : tailAt)
    } else if (plan.names) this.#writeDirectory(plan, (dataBlock + plan.firstBlock) * BLOCK, tailAt)
  }

  /** 64 bits of a number that may be negative. */
  #setWide(at: number, value: number): void {
    this.#view.setUint32(at, value >>> 0, true)
    this.#view.setInt32(at + 4, Math.floor(value / 0x100000000), true)
  }

  #writeObjectXattrs(object: string, at: number): void {
    const value = redirectOf(object)
    this.#image[at + 4] = 1
    this.#view.setUint32(at + XATTR_HEADER, this.#metacopy, true)
    const entry = at + XATTR_HEADER + 4
    this.#image[entry] = REDIRECT.length
    this.#image[entry + 1] = 4
    this.#view.setUint16(entry + 2, value.length, true)
    this.#image.latin1Write(REDIRECT + value, entry + 4)
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
        this.#setWide(at, child.nid)
        this.#view.setUint16(at + 8, nameoff, true)
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
