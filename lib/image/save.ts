/**
 * Owns images -> archive: an OCI layout in a tar (image-spec, image-layout.md), or Docker's `save` form (manifest.json,
 * one uncompressed tar per layer). Both are deterministic.
 * Invariant: blobs go out byte for byte as they are in the store, checked against their digest while they do; in the
 * Docker form the tar inside a blob does, checked against its diffID.
 */
import { createHash } from 'node:crypto'
import { type Digest, digestOf, hexOf } from '../digest.js'
import { type TarSource, writeTar } from '../layer/tar-write.js'
import { TreeInode } from '../layer/tree.js'
import { S } from '../sys/constants.js'
import { ImageError } from './error.js'
import { layerRecord } from './layer-record.js'
import { readBlob, resolveImage, type StoredImage, type StoredLayer } from './images.js'
import { REF_NAME } from './index-json.js'
import { inflate } from './inflate.js'
import { chunksOf } from './layer-source.js'
import { MEDIA } from './manifest.js'
import { familiarName, formatReference, parseReference } from './reference.js'
import type { Store } from './store.js'

/** The archive of the images that `texts` name, piece by piece. Throws ImageError. */
export async function* saveImages(
  store: Store,
  texts: readonly string[],
  format: 'oci' | 'docker',
): AsyncGenerator<Buffer> {
  const lock = await store.lock('shared')
  try {
    const chosen = new Map<Digest, { image: StoredImage; names: string[] }>()
    for (const text of texts) {
      const image = resolveImage(store, text)
      const entry = chosen.get(image.digest) ?? { image, names: [] }
      entry.names.push(...namesFor(image, text).filter(name => !entry.names.includes(name)))
      chosen.set(image.digest, entry)
    }
    yield* archiveOf(store, [...chosen.values()], format)
  } finally {
    lock.release()
  }
}

/** The archive of one image under names that it need not have in the store. The caller holds the store's lock. Throws ImageError. */
export function saveAs(
  store: Store,
  image: StoredImage,
  names: readonly string[],
  format: 'oci' | 'docker',
): AsyncGenerator<Buffer> {
  return archiveOf(store, [{ image, names: names.map(name => formatReference(parseReference(name))) }], format)
}

function archiveOf(store: Store, chosen: readonly Chosen[], format: 'oci' | 'docker'): AsyncGenerator<Buffer> {
  return writeTar(format === 'oci' ? ociEntries(store, chosen) : dockerEntries(store, chosen))
}

/** A name asks for itself, an ID for all names (as `docker save`: names given are names kept). */
function namesFor(image: StoredImage, text: string): readonly string[] {
  try {
    const name = formatReference(parseReference(text))
    if (image.names.includes(name)) return [name]
  } catch {
    // An ID.
  }
  return /^(sha256:)?[0-9a-f]+$/.test(text) ? [] : image.names
}

interface Chosen {
  readonly image: StoredImage
  readonly names: readonly string[]
}

function* ociEntries(store: Store, chosen: readonly Chosen[]): Generator<TarSource> {
  yield document('oci-layout', { imageLayoutVersion: '1.0.0' })
  const manifests = chosen.flatMap(({ image, names }) => {
    const plain = { mediaType: MEDIA.ociManifest, digest: image.digest, size: store.blobSize(image.digest) ?? 0 }
    if (names.length === 0) return [plain]
    return names.map(name => ({ ...plain, annotations: { 'io.containerd.image.name': name, [REF_NAME]: name } }))
  })
  yield document('index.json', { schemaVersion: 2, mediaType: MEDIA.ociIndex, manifests })
  yield directory('blobs')
  yield directory('blobs/sha256')
  const done = new Set<Digest>()
  for (const { image } of chosen) {
    for (const digest of [image.digest, image.id]) {
      if (!done.has(digest)) yield bytes(`blobs/sha256/${hexOf(digest)}`, readBlob(store, digest))
      done.add(digest)
    }
    for (const layer of image.layers) {
      if (!done.has(layer.digest))
        yield file(`blobs/sha256/${hexOf(layer.digest)}`, layer.size, () => blobChunks(store, layer))
      done.add(layer.digest)
    }
  }
}

function* dockerEntries(store: Store, chosen: readonly Chosen[]): Generator<TarSource> {
  const manifest: { Config: string; RepoTags: string[]; Layers: string[] }[] = []
  const done = new Set<string>()
  for (const { image, names } of chosen) {
    const config = `${hexOf(image.id)}.json`
    if (!done.has(config)) yield bytes(config, readBlob(store, image.id))
    done.add(config)
    const layers = image.layers.map(l => `${hexOf(l.diffID)}.tar`)
    for (const [i, layer] of image.layers.entries()) {
      const name = layers[i] as string
      if (done.has(name)) continue
      done.add(name)
      const record = layerRecord(store, layer.digest)
      if (record === undefined)
        throw new ImageError('STORE_DAMAGED', `save: layer ${layer.digest} has no record (lamina fsck --repair)`, {
          digest: layer.digest,
        })
      yield file(name, record.tarBytes, () => tarChunks(store, layer))
    }
    manifest.push({ Config: config, RepoTags: names.map(familiarName), Layers: layers })
  }
  yield document('manifest.json', manifest)
}

/** A layer's blob, checked while it is read. */
export async function* blobChunks(store: Store, layer: Pick<StoredLayer, 'digest' | 'size'>): AsyncGenerator<Buffer> {
  const source = chunksOf({ kind: 'file', path: store.blob(layer.digest), offset: 0, size: layer.size })
  yield* checked(source, layer.digest, `blob ${layer.digest}`)
}

async function* tarChunks(store: Store, layer: StoredLayer): AsyncGenerator<Buffer> {
  yield* checked(inflate(blobChunks(store, layer)), layer.diffID, `layer ${layer.diffID}`)
}

async function* checked(source: AsyncIterable<Buffer>, want: string, what: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256')
  for await (const chunk of source) {
    hash.update(chunk)
    yield chunk
  }
  if (digestOf(hash.digest()) !== want)
    throw new ImageError('BLOB_CORRUPT', `read ${what}: its content does not match (lamina fsck)`, { digest: want })
}

function document(name: string, json: unknown): TarSource {
  return bytes(name, Buffer.from(JSON.stringify(json)))
}

function bytes(name: string, content: Buffer): TarSource {
  return file(name, content.length, () => [content])
}

function file(name: string, size: number, content: () => Iterable<Buffer> | AsyncIterable<Buffer>): TarSource {
  const inode = new TreeInode(S.IFREG | 0o644)
  inode.size = size
  return { name, inode, content }
}

function directory(name: string): TarSource {
  return { name, inode: new TreeInode(S.IFDIR | 0o755) }
}
