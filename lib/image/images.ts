/**
 * Owns finding images in the store: by name, by ID, all of them; and putting one in.
 * An image's ID is its config's digest, as Docker has it. Layers are listed base first.
 * Invariant: a `StoredImage` has as many layers as diffIDs, and all its documents were checked when read.
 */
import { readFileSync } from 'node:fs'
import { type ChainID, chainOf, type DiffID, type Digest, digestBytes, hexOf } from '../digest.js'
import { ensureChain } from './chain.js'
import { ImageError } from './error.js'
import { layerRecord } from './layer-record.js'
import { nameImage, nameOfDescriptor, readDescriptors, REPO_DIGEST } from './index-json.js'
import { type Descriptor, type ImageConfig, type Manifest, MEDIA, readConfig, readManifest } from './manifest.js'
import { familiarName, formatReference, nameOf, parseReference } from './reference.js'
import { type Session, type Store, writeAtomic } from './store.js'

export interface StoredLayer {
  readonly digest: Digest
  readonly diffID: DiffID
  /** Bytes of the blob. */
  readonly size: number
  readonly mediaType: string
}

export interface StoredImage {
  /** Canonical names, sorted; empty for an image without a name. */
  readonly names: readonly string[]
  /** Digest of the config: Docker's image ID. */
  readonly id: Digest
  /** Digest of the manifest in this store. */
  readonly digest: Digest
  /** `name@digest` as registries know it. */
  readonly repoDigests: readonly string[]
  readonly manifest: Manifest
  readonly config: ImageConfig
  readonly layers: readonly StoredLayer[]
  /** undefined for an image without layers. */
  readonly chain: ChainID | undefined
}

/** All images, newest first. Throws ImageError STORE_DAMAGED / BLOB_MISSING when a document is gone. */
export function listImages(store: Store): StoredImage[] {
  const byDigest = new Map<Digest, Descriptor[]>()
  for (const d of readDescriptors(store)) byDigest.set(d.digest, [...(byDigest.get(d.digest) ?? []), d])
  const images = [...byDigest.values()].map(descriptors => readImage(store, descriptors))
  return images.sort((a, b) => createdAt(b) - createdAt(a))
}

/** Milliseconds since the epoch, 0 when the image does not say. */
export function createdAt(image: StoredImage): number {
  const time = Date.parse(image.config.created ?? '')
  return Number.isNaN(time) ? 0 : time
}

/**
 * The image that `text` names: a reference, or an ID (config or manifest digest) or its beginning. Throws ImageError
 * IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, REFERENCE_INVALID.
 */
export function resolveImage(store: Store, text: string): StoredImage {
  const descriptors = readDescriptors(store)
  const pick = (digest: Digest): StoredImage =>
    readImage(
      store,
      descriptors.filter(d => d.digest === digest),
    )
  const notFound = new ImageError('IMAGE_NOT_FOUND', `find image ${text}: no such image`, { reference: text })
  let wanted: string | undefined
  try {
    const reference = parseReference(text)
    if (reference.digest !== undefined) {
      const name = nameOf(reference)
      const found = descriptors.find(
        d =>
          (d.digest === reference.digest || d.annotations?.[REPO_DIGEST] === reference.digest) &&
          (nameOfDescriptor(d) ?? name).startsWith(name),
      )
      if (found) return pick(found.digest)
      throw notFound
    }
    wanted = formatReference(reference)
  } catch (error) {
    if (!(error instanceof ImageError && error.code === 'REFERENCE_INVALID') || !/^(sha256:)?[0-9a-f]+$/.test(text))
      throw error
  }
  const named = descriptors.find(d => nameOfDescriptor(d) === wanted)
  if (named !== undefined) return pick(named.digest)
  const hex = text.replace(/^sha256:/, '')
  if (!/^[0-9a-f]{2,64}$/.test(hex)) throw notFound
  const found = new Set<Digest>()
  for (const d of descriptors) {
    if (hexOf(d.digest).startsWith(hex)) found.add(d.digest)
    else if (hexOf(readDocument(store, d.digest, readManifest).config.digest).startsWith(hex)) found.add(d.digest)
  }
  const ids = new Set([...found].map(d => readDocument(store, d, readManifest).config.digest))
  if (ids.size > 1) throw new ImageError('IMAGE_AMBIGUOUS', `find image ${text}: ${ids.size} images begin with it`)
  const [digest] = found
  if (digest === undefined) throw notFound
  return pick(digest)
}

/** The image whose manifest this is, named or not. */
export function imageByDigest(store: Store, digest: Digest): StoredImage {
  const descriptors = readDescriptors(store).filter(d => d.digest === digest)
  return readImage(store, descriptors.length > 0 ? descriptors : [{ mediaType: MEDIA.ociManifest, digest, size: 0 }])
}

/** Reads and checks one JSON document by digest. Throws BLOB_MISSING, BLOB_CORRUPT, and what `read` throws. */
export function readDocument<T>(store: Store, digest: Digest, read: (bytes: Buffer, what: string) => T): T {
  return read(readBlob(store, digest), `blob ${digest}`)
}

export function readBlob(store: Store, digest: Digest): Buffer {
  let bytes: Buffer
  try {
    bytes = readFileSync(store.blob(digest))
  } catch (error) {
    throw new ImageError('BLOB_MISSING', `read blob ${digest}: the store does not have it`, { digest }, error)
  }
  if (digestBytes(bytes) !== digest)
    throw new ImageError('BLOB_CORRUPT', `read blob ${digest}: its content does not match (lamina fsck)`, { digest })
  return bytes
}

function readImage(store: Store, descriptors: Descriptor[]): StoredImage {
  const digest = (descriptors[0] as Descriptor).digest
  const manifest = readDocument(store, digest, readManifest)
  const config = readDocument(store, manifest.config.digest, readConfig)
  const diffIDs = config.rootfs.diff_ids
  if (diffIDs.length !== manifest.layers.length)
    throw new ImageError(
      'MANIFEST_INVALID',
      `read image ${digest}: ${manifest.layers.length} layers, ${diffIDs.length} diffIDs`,
    )
  const names = descriptors.map(nameOfDescriptor).filter(name => name !== undefined)
  const repoDigests = descriptors.flatMap(d => {
    const name = nameOfDescriptor(d)
    const repo = d.annotations?.[REPO_DIGEST]
    return name !== undefined && repo !== undefined ? [`${familiarName(nameOf(parseReference(name)))}@${repo}`] : []
  })
  return {
    names: names.sort(),
    id: manifest.config.digest,
    digest,
    repoDigests: [...new Set(repoDigests)],
    manifest,
    config,
    layers: manifest.layers.map((l, i) => ({
      digest: l.digest,
      diffID: diffIDs[i] as DiffID,
      size: l.size,
      mediaType: l.mediaType,
    })),
    chain: chainOf(diffIDs),
  }
}

/** Bytes of all files in all layers: what Docker calls an image's size. Unknown layers count their blob. */
export function unpackedSize(store: Store, image: StoredImage): number {
  return image.layers.reduce((sum, l) => sum + (layerRecord(store, l.digest)?.bytes ?? l.size), 0)
}

/**
 * Puts an image whose layers are in the store already: config, manifest, chain index, then the names. `config` is kept
 * byte for byte. Returns the image as stored. Idempotent.
 */
export async function addImage(
  store: Store,
  session: Session,
  image: {
    readonly config: Buffer
    readonly layers: readonly { readonly digest: Digest; readonly size: number; readonly mediaType: string }[]
    readonly annotations?: Record<string, string> | undefined
    /** The very manifest, when it is an OCI one that came in: its digest stays. */
    readonly manifest?: Buffer | undefined
    /** Its layers were made here, so nothing in them needs to be checked: they are flattened when it is mounted first. */
    readonly own?: boolean | undefined
  },
  names: readonly string[],
  descriptorAnnotations: Record<string, string> = {},
): Promise<StoredImage> {
  const parsed = readConfig(image.config)
  if (parsed.rootfs.diff_ids.length !== image.layers.length)
    throw new ImageError(
      'MANIFEST_INVALID',
      `add image: ${image.layers.length} layers, ${parsed.rootfs.diff_ids.length} diffIDs`,
    )
  const configDigest = digestBytes(image.config)
  const manifest =
    image.manifest ??
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA.ociManifest,
        config: { mediaType: MEDIA.ociConfig, digest: configDigest, size: image.config.length },
        layers: image.layers.map(l => ({ mediaType: l.mediaType, digest: l.digest, size: l.size })),
        ...(image.annotations && Object.keys(image.annotations).length > 0 ? { annotations: image.annotations } : {}),
      }),
    )
  const digest = digestBytes(manifest)
  if (image.own !== true) ensureChain(store, session.path, parsed.rootfs.diff_ids)
  putBlob(store, session, image.config)
  putBlob(store, session, manifest)
  await nameImage(store, { digest, size: manifest.length, annotations: descriptorAnnotations }, names)
  return imageByDigest(store, digest)
}

/** A small blob (a document) into the store; nothing happens when it is there. */
export function putBlob(store: Store, session: Session, bytes: Buffer): Digest {
  const digest = digestBytes(bytes)
  if (store.blobSize(digest) !== bytes.length) writeAtomic(store.blob(digest), bytes, session.path)
  return digest
}
