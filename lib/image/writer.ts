/**
 * Owns making images here: `ImageWriter`, what commit, build and import write with. File contents first (objects), then
 * trees of them as layers, then an image of layers.
 * Formats: a new layer's tar is deterministic (tar-write.ts); its blob is that tar, gzip-compressed unless asked otherwise.
 * Invariant: as long as a writer is open, gc does not run: nothing it has put is removed before an image names it.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { createGzip } from 'node:zlib'
import { type DiffID, digestOf } from '../digest.js'
import { check, FsError } from '../errno.js'
import { objectPath, RESERVED } from '../layer/erofs-format.js'
import { writeIndex } from '../layer/erofs-write.js'
import { LayerIngest } from '../layer/tar-ingest.js'
import { readTar } from '../layer/tar-read.js'
import { layerEntries, type TarSource, writeTar } from '../layer/tar-write.js'
import type { TreeInode } from '../layer/tree.js'
import { O } from '../sys/constants.js'
import { close, openat, open, pread } from '../sys/file.js'
import { bytesOf } from '../bytes.js'
import { decompress } from './decompress.js'
import { ImageError } from './error.js'
import { BlobWriter } from './blob-writer.js'
import { layerRecord, recordLayer } from './layer-record.js'
import { addImage, type StoredImage, type StoredLayer } from './images.js'
import { through } from './inflate.js'
import type { Lock } from './lock.js'
import { type ImageConfig, MEDIA } from './manifest.js'
import { ObjectSink } from './objects.js'
import { type Session, type Store, syncDirectory, writeAtomic } from './store.js'

const READ_SIZE = 256 * 1024

export interface AddTreeOptions {
  /** How the blob is kept: gzip (default) to be shipped as it is, or none: no time spent, more room taken. */
  readonly compression?: 'gzip' | 'none'
}

export class ImageWriter {
  readonly store: Store
  readonly #lock: Lock
  readonly #session: Session
  readonly #sink: ObjectSink
  readonly #objects: number
  #sequence = 0

  private constructor(store: Store, lock: Lock) {
    this.store = store
    this.#lock = lock
    this.#session = store.session()
    const staging = join(this.#session.path, 'objects')
    mkdirSync(staging, { mode: 0o700 })
    this.#sink = new ObjectSink(store.objects, staging)
    this.#objects = check(open(bytesOf(store.objects), O.PATH | O.DIRECTORY), 'open', store.objects)
  }

  /** Waits for a running gc. Close it when done. */
  static async open(store: Store): Promise<ImageWriter> {
    return new ImageWriter(store, await store.lock('shared'))
  }

  /** Whether the store has this content (SHA-256, hex). */
  hasObject(hex: string): boolean {
    return this.#sink.has(hex)
  }

  /** Stores `size` bytes of `fd` from its start; returns their SHA-256 (hex). The fd stays open. Throws FsError. */
  putFile(fd: number, size: number): string {
    this.#sink.begin(size)
    const buffer = this.#buffer
    for (let at = 0; at < size;) {
      const n = check(pread(fd, buffer, at), 'read', `fd ${fd}`)
      if (n === 0) break
      const take = Math.min(n, size - at)
      this.#sink.write(buffer.subarray(0, take), at)
      at += take
    }
    return this.#sink.end()
  }
  readonly #buffer = Buffer.allocUnsafeSlow(READ_SIZE)

  putBytes(bytes: Uint8Array): string {
    this.#sink.begin(bytes.length)
    if (bytes.length > 0) this.#sink.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0)
    return this.#sink.end()
  }

  /** An fd on an object's content, read-only; the caller closes it. Throws FsError. */
  openObject(hex: string): number {
    this.#sink.commit()
    return check(openat(this.#objects, objectPath(hex), O.RDONLY | O.NOFOLLOW), 'open', `object ${hex}`)
  }

  /**
   * Makes a layer of a tree whose files are objects already. Afterwards blob, objects and index are in place and synced.
   * The same tree gives the same diffID. Throws ImageError, IndexLimitError, TarError, FsError.
   */
  async addTree(root: TreeInode, options: AddTreeOptions = {}): Promise<StoredLayer & { readonly bytes: number }> {
    if (root.children?.has(RESERVED) === true)
      throw new ImageError('UNSUPPORTED', `add layer: ${RESERVED} is reserved in the root of a layer`)
    const index = writeIndex(root)
    this.#sink.commit()
    const gzip = options.compression !== 'none'
    const path = join(this.#session.path, `blob-${this.#sequence++}`)
    const blob = new BlobWriter(path)
    const diff = createHash('sha256')
    let tarBytes = 0
    let entries = 0
    const tar = async function* (source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of source) {
        diff.update(chunk)
        tarBytes += chunk.length
        yield chunk
      }
    }
    const counted = function* (all: Iterable<TarSource>): Generator<TarSource> {
      for (const entry of all) {
        entries++
        yield entry
      }
    }
    try {
      const plain = tar(writeTar(counted(layerEntries(root, hex => this.#chunks(hex)))))
      for await (const chunk of gzip ? through(createGzip({ chunkSize: READ_SIZE }), plain, 'gzip') : plain)
        blob.write(chunk)
      const digest = blob.finish()
      const diffID = digestOf(diff.digest()) as string as DiffID
      const bytes = contentBytes(root)
      if (layerRecord(this.store, digest) === undefined) {
        blob.sync()
        renameSync(path, this.store.blob(digest))
        syncDirectory(join(this.store.root, 'blobs/sha256'))
        if (!existsSync(this.store.layer(diffID))) writeAtomic(this.store.layer(diffID), index, this.#session.path)
        recordLayer(this.store, this.#session.path, {
          digest,
          size: blob.size,
          diffID,
          tarBytes,
          bytes,
          entries,
          compression: gzip ? 'gzip' : 'none',
        })
      }
      return { digest, diffID, size: blob.size, mediaType: gzip ? MEDIA.ociLayerGzip : MEDIA.ociLayer, bytes }
    } finally {
      blob.close()
    }
  }

  *#chunks(hex: string): Generator<Buffer> {
    const fd = this.openObject(hex)
    try {
      for (let at = 0; ;) {
        const buffer = Buffer.allocUnsafeSlow(READ_SIZE)
        const n = pread(fd, buffer, at)
        if (n < 0) throw new FsError(n, 'read', `object ${hex}`)
        if (n === 0) return
        yield buffer.subarray(0, n)
        at += n
      }
    } finally {
      close(fd)
    }
  }

  /** A tar (plain, or in gzip, zstd, bzip2, xz) as a tree whose files are objects; nothing is named yet. Throws TarError, ImageError. */
  async readArchive(source: AsyncIterable<Uint8Array>): Promise<TreeInode> {
    const ingest = new LayerIngest(this.#sink)
    const buffers = async function* (): AsyncGenerator<Buffer> {
      for await (const c of source) yield Buffer.from(c.buffer, c.byteOffset, c.byteLength)
    }
    await readTar(decompress(buffers()), ingest)
    return ingest.finish()
  }

  /**
   * Makes an image of layers (base first) that the store has; it is flattened when it is mounted first: a build that is
   * pushed never needs it. `config.rootfs` is set from them. Throws ImageError.
   */
  addImage(
    config: Omit<ImageConfig, 'rootfs'>,
    layers: readonly StoredLayer[],
    names: readonly string[],
    annotations?: Record<string, string>,
  ): Promise<StoredImage> {
    const full = { ...config, rootfs: { type: 'layers', diff_ids: layers.map(l => l.diffID) } }
    return addImage(
      this.store,
      this.#session,
      { config: Buffer.from(JSON.stringify(full)), layers, annotations, own: true },
      names,
    )
  }

  /** Directory for scratch on the store's filesystem; gone with `close`. */
  get scratch(): string {
    return this.#session.path
  }

  close(): void {
    this.#sink.close()
    close(this.#objects)
    this.#session.close()
    this.#lock.release()
  }
}

/** Bytes of all files, each inode once. */
export function contentBytes(root: TreeInode): number {
  const seen = new Set<TreeInode>()
  let bytes = 0
  const walk: TreeInode[] = [root]
  for (let dir = walk.pop(); dir !== undefined; dir = walk.pop()) {
    for (const child of dir.children?.values() ?? []) {
      if (child.isDirectory) walk.push(child)
      else if (child.object !== '' && !seen.has(child)) {
        seen.add(child)
        bytes += child.size
      }
    }
  }
  return bytes
}
