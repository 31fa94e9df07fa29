/**
 * Owns the build's way into the image store: `ImageStore` fulfils `BuildStore` (store.ts) with lib/image's writer.
 * Layers that a build makes are kept as plain tars: nothing is compressed before it is shipped.
 * Invariant: while it is open no gc runs; what the cache names is pinned (`build-KEY`) until it is pruned.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import type { DiffID, Digest } from '../digest.js'
import { openLayers } from '../image/chain.js'
import { changesTree } from '../image/commit.js'
import type { StoredImage } from '../image/images.js'
import { layerRecord } from '../image/layer-record.js'
import { MEDIA } from '../image/manifest.js'
import { pinLayers } from '../image/pin.js'
import { formatReference, parseReference } from '../image/reference.js'
import type { Store } from '../image/store.js'
import { ImageWriter } from '../image/writer.js'
import { openUpperLayer } from '../layer/copies.js'
import { EMPTY_SHA256 } from '../layer/erofs-format.js'
import { openIndex } from '../layer/indexed.js'
import type { Layer } from '../layer/layer.js'
import type { TreeInode } from '../layer/tree.js'
import { close } from '../sys/file.js'
import { BuildError } from './error.js'
import type { BaseImage, BuildStore, ImageConfig, Platform, StoredLayer } from './store.js'

/** Finds an image by reference for a platform; fetches it when it is not there, or always asks with `pull`. */
export type FindImage = (reference: string, platform: Platform, pull: boolean) => Promise<StoredImage>

export class ImageStore implements BuildStore {
  readonly scratch: string
  readonly state: string
  readonly #store: Store
  readonly #find: FindImage
  readonly #writer: ImageWriter

  private constructor(store: Store, find: FindImage, writer: ImageWriter) {
    this.#store = store
    this.#find = find
    this.#writer = writer
    this.scratch = join(writer.scratch, 'build')
    this.state = join(store.root, 'build')
    mkdirSync(this.scratch)
    mkdirSync(this.state, { recursive: true, mode: 0o700 })
  }

  /** Waits for a running gc. */
  static async open(store: Store, find: FindImage): Promise<ImageStore> {
    return new ImageStore(store, find, await ImageWriter.open(store))
  }

  hasObject(hex: string): boolean {
    return this.#writer.hasObject(hex)
  }

  putFile(fd: number, size: number): string {
    try {
      return this.#writer.putFile(fd, size)
    } finally {
      close(fd)
    }
  }

  putBytes(bytes: Uint8Array): string {
    return this.#writer.putBytes(bytes)
  }

  openObject(hex: string): number {
    return this.#writer.openObject(hex)
  }

  async base(reference: string, platform: Platform, pull: boolean): Promise<BaseImage> {
    let image: StoredImage
    try {
      image = await this.#find(reference, platform, pull)
    } catch (error) {
      throw new BuildError('BASE', `base image ${reference}: ${(error as Error).message}`, {
        cause: error,
        context: { reference },
      })
    }
    return {
      name: image.names[0] ?? reference,
      digest: image.digest,
      config: image.config as unknown as ImageConfig,
      layers: image.layers.map(layer => layer.diffID),
    }
  }

  hasLayer(diffID: DiffID): boolean {
    return layerRecord(this.#store, diffID) !== undefined
  }

  openLayers(layers: readonly DiffID[]): Layer[] {
    return openLayers(this.#store, layers, path => openIndex(bytesOf(path), bytesOf(this.#store.objects)))
  }

  async addTree(root: TreeInode): Promise<StoredLayer> {
    const { diffID, bytes } = await this.#writer.addTree(root, { compression: 'none' })
    return { diffID, size: bytes }
  }

  async addUpper(directory: string, below: readonly DiffID[], clamp: number | undefined): Promise<StoredLayer> {
    const lowers = this.openLayers(below).toReversed()
    const top = openUpperLayer(bytesOf(directory))
    try {
      return await this.addTree(changesTree(this.#writer, top, lowers, { clock: clamp }))
    } finally {
      top.close()
      for (const layer of lowers) layer.close()
    }
  }

  async readArchive(source: AsyncIterable<Uint8Array>): Promise<TreeInode> {
    // Other stages store files between its chunks, and a writer takes one file at a time: a writer of its own.
    const writer = await ImageWriter.open(this.#store)
    try {
      const root = await writer.readArchive(source)
      close(writer.openObject(EMPTY_SHA256))
      return root
    } finally {
      writer.close()
    }
  }

  async addImage(
    config: ImageConfig,
    names: readonly string[],
    annotations: Readonly<Record<string, string>> = {},
  ): Promise<{ manifest: Digest; config: Digest }> {
    const layers = config.rootfs.diff_ids.map(diffID => {
      const record = layerRecord(this.#store, diffID)
      if (!record) throw new BuildError('STORE', `write image: layer ${diffID} is gone from the store`)
      const { digest, size, compression } = record
      const mediaType = { none: MEDIA.ociLayer, gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd }[compression]
      return { digest, diffID, size, mediaType }
    })
    const canonical = names.map(name => formatReference(parseReference(name)))
    const stored = await this.#writer.addImage(config as unknown as StoredImage['config'], layers, canonical, {
      ...annotations,
    })
    return { manifest: stored.digest, config: stored.id }
  }

  async keep(key: string, layer: DiffID): Promise<void> {
    await pinLayers(this.#store, [layer], 'build cache', { pid: null, name: `build-${key}` })
  }

  close(): void {
    this.#writer.close()
  }
}
