/**
 * Owns the origin of a copied-up file: which lower object it was, so that its inode number survives the copy and the
 * mount. Written on copy-up, read when an upper entry of an impure directory is looked up.
 * Format (fs/overlayfs, struct ovl_fb): version 0, magic 0xfb, length, flags, handle type, 16 bytes of filesystem UUID,
 * then the file handle. Layers without file handles (an index) get `overlay.lamina` = the number shown, in decimal, instead.
 * The inode number is read out of the handles of known types and otherwise by opening the handle.
 */
import { E } from '../errno.js'
import { DirectoryLayer } from '../layer/directory.js'
import type { LayerNode } from '../layer/layer.js'
import { O } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import { type FileHandle, filesystemUuid, nameToHandle, openByHandle } from '../sys/handle.js'
import { fstat, Stat } from '../sys/stat.js'
import { setMark, text } from './marks.js'
import { mutate } from './mutate.js'
import type { Tree } from './tree.js'

const HEADER = 21
const MAGIC = 0xfb
const FILEID_INO32_GEN = 1
const FILEID_BTRFS = 0x4d
const FILEID_XFS_INO64 = 0x81

export class Origins {
  readonly #tree: Tree
  /** By layer, read when first needed. */
  readonly #uuids: (Buffer | undefined)[] = []
  readonly #mounts: (number | undefined)[] = []
  readonly #st = new Stat()

  constructor(tree: Tree) {
    this.#tree = tree
  }

  /** Marks `name` below `fd` as copied from an object of a layer. Returns 0 or `-errno`. */
  write(fd: number, name: string, layer: number, node: LayerNode, ino: number): number {
    const handle = this.encode(layer, node)
    if (handle !== undefined) return setMark(this.#tree, fd, name, 'origin', handle)
    return setMark(this.#tree, fd, name, 'lamina', Buffer.from(String(ino)))
  }

  /** `write` for an open file. */
  writeTo(fd: number, layer: number, node: LayerNode, ino: number): number {
    const handle = this.encode(layer, node)
    const prefix = this.#tree.xattrPrefix
    if (handle !== undefined) return mutate.fsetxattr(fd, `${prefix}origin`, handle)
    return mutate.fsetxattr(fd, `${prefix}lamina`, Buffer.from(String(ino)))
  }

  /** overlayfs's form of a lower object's file handle; undefined where the layer or its filesystem has none. */
  encode(layer: number, node: LayerNode): Buffer | undefined {
    const l = this.#tree.layer(layer)
    if (!(l instanceof DirectoryLayer)) return undefined
    const at = l.reach(node)
    if (at.fd < 0) return undefined
    const handle = nameToHandle(at.fd, at.name)
    if (typeof handle === 'number' || handle.type > 0xff) return undefined
    const out = Buffer.alloc(HEADER + handle.bytes.length)
    out[1] = MAGIC
    out[2] = out.length
    out[4] = handle.type
    this.#uuid(layer).copy(out, 5)
    handle.bytes.copy(out, HEADER)
    return out
  }

  /** The number shown for what an `overlay.origin` value names, -1 when that is not known. */
  decode(value: Buffer): number {
    const layer = this.#layerOf(value)
    if (layer < 0) return -1
    const handle = { type: value[4] ?? 0, bytes: value.subarray(HEADER) }
    const fsid = this.#tree.layer(layer).fsid
    const ino = inoOf(handle)
    if (ino >= 0) return this.#tree.inodes.of(fsid, ino)
    return this.stat(value, this.#st) < 0 ? -1 : this.#tree.inodes.of(fsid, this.#st.ino)
  }

  /** Fills `st` with what the lower object of an `overlay.origin` value has now. Returns 0 or `-errno`. */
  stat(value: Buffer, st: Stat): number {
    const layer = this.#layerOf(value)
    if (layer < 0) return -E.ESTALE
    const fd = openByHandle(this.#mount(layer), { type: value[4] ?? 0, bytes: value.subarray(HEADER) }, O.PATH)
    if (fd < 0) return fd
    const r = fstat(fd, st)
    close(fd)
    return r
  }

  /** The first layer on the filesystem that an `overlay.origin` value is of, -1 when there is none. */
  #layerOf(value: Buffer): number {
    if (value.length <= HEADER || value[0] !== 0 || value[1] !== MAGIC) return -1
    const uuid = value.subarray(5, HEADER)
    return this.#tree.layers.findIndex((_, i) => this.#uuid(i).equals(uuid))
  }

  /** The number shown, out of an `overlay.lamina` value. */
  decodeOwn(value: Buffer): number {
    const ino = Number(text(value))
    return Number.isSafeInteger(ino) && ino > 0 ? ino : -1
  }

  close(): void {
    for (const fd of this.#mounts) if (fd !== undefined && fd >= 0) close(fd)
  }

  #uuid(layer: number): Buffer {
    const known = this.#uuids[layer]
    if (known !== undefined) return known
    const fd = this.#mount(layer)
    const uuid = fd < 0 ? Buffer.alloc(16) : filesystemUuid(fd)
    this.#uuids[layer] = uuid
    return uuid
  }

  /** A plain fd on the layer's filesystem: the calls here refuse O_PATH. */
  #mount(layer: number): number {
    const known = this.#mounts[layer]
    if (known !== undefined) return known
    const l = this.#tree.layer(layer)
    let fd = -1
    if (l instanceof DirectoryLayer) {
      // Layers of one filesystem share the fd: 500 layers are not 500 fds.
      const same = this.#tree.layers.findIndex((o, i) => i < layer && o instanceof DirectoryLayer && o.fsid === l.fsid)
      if (same >= 0) {
        this.#uuids[layer] = this.#uuid(same)
        return this.#mounts[same] ?? -1
      }
      fd = openat(l.reach(l.root).fd, '.', O.RDONLY | O.DIRECTORY)
    }
    this.#mounts[layer] = fd
    return fd
  }
}

/** The inode number inside a handle of a known type, -1 of others (ext4, tmpfs, xfs, btrfs: their encode_fh). */
function inoOf({ type, bytes }: FileHandle): number {
  const u64 = (at: number): number => bytes.readUInt32LE(at + 4) * 0x100000000 + bytes.readUInt32LE(at)
  if (type === FILEID_INO32_GEN && bytes.length === 8) return bytes.readUInt32LE(0)
  if (type === FILEID_INO32_GEN && bytes.length === 12) return u64(4)
  if ((type === FILEID_BTRFS && bytes.length === 20) || (type === FILEID_XFS_INO64 && bytes.length === 12))
    return u64(0)
  return -1
}
