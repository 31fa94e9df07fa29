/**
 * Owns `IndexedLayer`: a layer (or a whole flattened image) answered from an EROFS index over a directory of objects.
 * Attributes, names, links and xattrs are answered from memory, where each piece of the index comes when it is first asked
 * for; `open` goes to the object.
 * Formats: nodes are nids. A whiteout is a char device 0:0 in the index and is listed as DT_WHT.
 * Invariant: the index is read-only; a damaged one, or a missing object, gives that call an errno and no exception.
 */
import { textOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { O, S } from '../sys/constants.js'
import { close, open, openat } from '../sys/file.js'
import type { Stat } from '../sys/stat.js'
import { EMPTY_SHA256, hexOfRedirect, objectPath, xattrIndex, xattrName, xattrSuffix } from './erofs-format.js'
import { ErofsImage } from './erofs-read.js'
import { type IndexBytes, IndexFile, IndexFormatError } from './index-bytes.js'
import { DT_WHT, type EntrySink, type Layer, type LayerNode } from './layer.js'

const TRUSTED = 4
const OVERLAY = 'overlay.'

/** Numbers that no device has: each index is a namespace of inodes of its own. */
let nextFsid = 0x100000000

export class IndexedLayer implements Layer {
  readonly fsid = nextFsid++
  readonly root: LayerNode
  readonly image: ErofsImage
  #objects: number

  /** `index` is closed with this, `objects` the path of the objects directory. Throws IndexFormatError or FsError. */
  constructor(index: Buffer | IndexBytes, objects: string) {
    this.image = new ErofsImage(index)
    this.root = this.image.root
    this.#objects = open(objects, O.PATH | O.DIRECTORY)
    if (this.#objects < 0) throw new FsError(this.#objects, 'open', objects)
  }

  lookup(dir: LayerNode, name: string, st: Stat): LayerNode {
    const nid = this.image.find(dir, name)
    if (nid < 0) return nid
    const r = this.stat(nid, st)
    return r < 0 ? r : nid
  }

  /** Nodes are offsets: there is nothing to give back. */
  release(): void {}

  stat(node: LayerNode, st: Stat): number {
    st.dev = 0
    return this.image.stat(node, st)
  }

  list(dir: LayerNode, each: (name: string, type: number, ino: number) => void): number {
    return this.image.list(dir, each, DT_WHT)
  }

  listBytes(dir: LayerNode, sink: EntrySink): number {
    return this.image.listBytes(dir, sink, DT_WHT)
  }

  isOpaque(dir: LayerNode): boolean {
    if (this.image.load(dir) < 0 || !this.image.hasXattrs) return false
    return this.image.findXattr(dir, TRUSTED, 'overlay.opaque') === 1 && this.image.valueText() === 'y'
  }

  readlink(node: LayerNode): string | number {
    return this.image.readlink(node)
  }

  getxattr(node: LayerNode, name: string): Buffer | number {
    const index = xattrIndex(name)
    if (index === 0) return -E.ENODATA
    let suffix = xattrSuffix(name, index)
    if ((index === 1 || index === TRUSTED) && suffix.startsWith(OVERLAY)) suffix = OVERLAY + suffix
    const n = this.image.findXattr(node, index, suffix)
    return n < 0 ? n : this.image.value()
  }

  listxattr(node: LayerNode): string[] | number {
    const names: string[] = []
    const r = this.image.listXattrs(node, (index, suffix) => {
      if ((index === 1 || index === TRUSTED) && suffix.startsWith(OVERLAY)) {
        suffix = suffix.slice(OVERLAY.length)
        if (!suffix.startsWith(OVERLAY)) return
      }
      const name = xattrName(index, suffix)
      if (name !== undefined) names.push(name)
    })
    return r < 0 ? r : names
  }

  /** `redirect` and `metacopy` of files are the index's own way to objects: `open` follows them, the union must not. */
  overlayXattr(node: LayerNode, name: string): Buffer | undefined {
    if (name === 'redirect' || name === 'metacopy') return undefined
    return this.image.findXattr(node, TRUSTED, OVERLAY + name) < 0 ? undefined : this.image.value()
  }

  open(node: LayerNode): number {
    const hex = this.object(node)
    return typeof hex === 'number' ? hex : openat(this.#objects, objectPath(hex), O.RDONLY | O.NOFOLLOW)
  }

  /** SHA-256 (hex) of a regular file's content: its name below the objects directory. EISDIR, EINVAL, EUCLEAN. */
  object(node: LayerNode): string | number {
    const r = this.image.load(node)
    if (r < 0) return r
    const type = this.image.mode & S.IFMT
    if (type !== S.IFREG) return type === S.IFDIR ? -E.EISDIR : -E.EINVAL
    if (this.image.size === 0) return EMPTY_SHA256
    if (this.image.findXattr(node, TRUSTED, 'overlay.redirect') < 0) return -E.EUCLEAN
    return hexOfRedirect(this.image.valueText()) ?? -E.EUCLEAN
  }

  /** The same for who compares files: undefined for what has no content. */
  digest(node: LayerNode): string | undefined {
    const hex = this.object(node)
    return typeof hex === 'string' ? hex : undefined
  }

  close(): void {
    if (this.#objects >= 0) close(this.#objects)
    this.#objects = -1
    this.image.close()
  }
}

/**
 * Opens the index file at `path` (byte string): its header, and what is asked for when it is. Each piece is compared with
 * its hash; with `whole` all of them are now, for who must not go on with half of the names. Throws IndexFormatError (with
 * the path), FsError.
 */
export function openIndex(path: string, objects: string, { whole = false } = {}): IndexedLayer {
  let file: IndexFile | undefined
  try {
    file = new IndexFile(path)
    for (let piece = 0; whole && piece < file.there.length; piece++)
      if (file.fetch(piece) < 0) throw new IndexFormatError('it is damaged')
    return new IndexedLayer(file, objects)
  } catch (error) {
    file?.close()
    if (!(error instanceof IndexFormatError)) throw error
    throw new IndexFormatError(`open index ${textOf(path)}: ${error.message} (lamina fsck --repair)`)
  }
}
