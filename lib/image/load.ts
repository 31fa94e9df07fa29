/**
 * Owns archive -> images: OCI archives and layouts (image-spec, image-layout.md), and `docker save` archives
 * (manifest.json). Newer `docker save` writes both into one tar; then the OCI documents are used, with Docker's names.
 * Invariant: each image is complete or absent: names appear after their image has been verified.
 */
import * as v from 'valibot'
import { type Digest, digestBytes, digestOf, hexOf, isDigest } from '../digest.js'
import type { IngestLimits } from '../layer/tar-ingest.js'
import { type Archive, openArchive, readMember, type Region } from './archive.js'
import { ImageError } from './error.js'
import { type ImportEvents, importImage } from './import-image.js'
import { addImage, type StoredImage } from './images.js'
import { nameImage, REF_NAME } from './index-json.js'
import { type LayerRecord, layerRecord } from './layer-record.js'
import { importLayers } from './layer-tasks.js'
import { type Descriptor, isIndex, MAX_DOCUMENT, MEDIA, readConfig, readIndex, readJson } from './manifest.js'
import { selectPlatform } from './platform.js'
import { formatReference, parseReference } from './reference.js'
import type { Session, Store } from './store.js'

export interface LoadOptions {
  /** Name for the image instead of those in the archive; only for archives of one image. */
  readonly name?: string | undefined
  readonly platform?: string | undefined
  readonly limits?: IngestLimits | undefined
  readonly events?: ImportEvents | undefined
}

/** containerd's and Docker's annotation for an image's full name. */
const CONTAINERD_NAME = 'io.containerd.image.name'

const dockerManifest = v.array(
  v.looseObject({
    Config: v.string(),
    RepoTags: v.optional(v.nullable(v.array(v.string()))),
    Layers: v.nullable(v.array(v.string())),
  }),
)

/** Loads every image of an archive file, an OCI layout directory or a stream; `names` are those given here. Throws ImageError, TarError, FsError. */
export async function loadImages(
  store: Store,
  source: string | NodeJS.ReadableStream,
  options: LoadOptions = {},
): Promise<StoredImage[]> {
  const lock = await store.lock('shared')
  const session = store.session()
  try {
    const archive = await openArchive(session, source)
    const docker = archive.region('manifest.json') !== undefined
    if (archive.region('index.json') !== undefined && archive.region('oci-layout') !== undefined)
      return await loadLayout(store, session, archive, docker, options)
    if (docker) return await loadDocker(store, session, archive, options)
    throw new ImageError(
      'ARCHIVE_INVALID',
      'load: neither an OCI layout (index.json) nor a Docker archive (manifest.json)',
    )
  } finally {
    session.close()
    lock.release()
  }
}

async function loadLayout(
  store: Store,
  session: Session,
  archive: Archive,
  docker: boolean,
  options: LoadOptions,
): Promise<StoredImage[]> {
  const index = readIndex(readMember(archive, 'index.json', MAX_DOCUMENT), 'index.json')
  if (options.name !== undefined && index.manifests.length !== 1)
    throw new ImageError(
      'ARCHIVE_INVALID',
      `load: a name was given, but the archive has ${index.manifests.length} images`,
    )
  const dockerNames = docker ? namesByConfig(archive) : new Map<string, string[]>()
  const images: StoredImage[] = []
  for (const descriptor of index.manifests) {
    const bytes = resolveManifest(archive, descriptor, options.platform)
    const names = options.name === undefined ? namesOf(descriptor) : [canonical(options.name)]
    const image = await importImage(
      store,
      session,
      bytes,
      {
        config: async d => member(archive, d),
        layer: d => ({ kind: 'file', ...blobRegion(archive, d) }),
      },
      names,
      { limits: options.limits, events: options.events },
    )
    const more = options.name === undefined && names.length === 0 ? (dockerNames.get(hexOf(image.id)) ?? []) : []
    images.push(more.length > 0 ? await rename(store, image, more) : { ...image, names })
  }
  return images
}

async function rename(store: Store, image: StoredImage, names: string[]): Promise<StoredImage> {
  await nameImage(store, { digest: image.digest, size: store.blobSize(image.digest) ?? 0 }, names)
  return { ...image, names }
}

/** Follows an index to the manifest of the wanted platform. */
function resolveManifest(archive: Archive, descriptor: Descriptor, platform: string | undefined): Buffer {
  for (let depth = 0; depth < 4; depth++) {
    const bytes = member(archive, descriptor)
    if (!isIndex(bytes, descriptor.mediaType)) return bytes
    descriptor = selectPlatform(readIndex(bytes), platform, d => archive.region(blobName(d.digest)) !== undefined)
  }
  throw new ImageError('MANIFEST_INVALID', 'load: indexes nest too deep')
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`
}

function blobRegion(archive: Archive, descriptor: Descriptor): Region {
  const region = archive.region(blobName(descriptor.digest))
  if (region === undefined)
    throw new ImageError('BLOB_MISSING', `load: blob ${descriptor.digest} is not in the archive`, {
      digest: descriptor.digest,
    })
  if (region.size !== descriptor.size)
    throw new ImageError(
      'SIZE_MISMATCH',
      `load: blob ${descriptor.digest} has ${region.size} bytes, ${descriptor.size} were announced`,
      {
        digest: descriptor.digest,
      },
    )
  return region
}

function member(archive: Archive, descriptor: Descriptor): Buffer {
  blobRegion(archive, descriptor)
  const bytes = readMember(archive, blobName(descriptor.digest), MAX_DOCUMENT)
  if (digestBytes(bytes) !== descriptor.digest)
    throw new ImageError('DIGEST_MISMATCH', `load: blob ${descriptor.digest} has other content`, {
      digest: descriptor.digest,
    })
  return bytes
}

/** Full names only: a bare tag (`latest`, as umoci and skopeo write it) does not say of what. */
function namesOf(descriptor: Descriptor): string[] {
  const full = descriptor.annotations?.[CONTAINERD_NAME]
  if (full !== undefined) return [canonical(full)]
  const ref = descriptor.annotations?.[REF_NAME]
  return ref !== undefined && /[:/]/.test(ref) ? [canonical(ref)] : []
}

function canonical(name: string): string {
  return formatReference(parseReference(name))
}

function readDockerManifest(archive: Archive): v.InferOutput<typeof dockerManifest> {
  const result = v.safeParse(
    dockerManifest,
    readJson(readMember(archive, 'manifest.json', MAX_DOCUMENT), 'manifest.json'),
  )
  if (!result.success) throw new ImageError('ARCHIVE_INVALID', `load: manifest.json: ${result.issues[0].message}`)
  return result.output
}

function namesByConfig(archive: Archive): Map<string, string[]> {
  const names = new Map<string, string[]>()
  for (const image of readDockerManifest(archive)) {
    const hex = /([0-9a-f]{64})(?:\.json)?$/.exec(image.Config)?.[1]
    if (hex !== undefined) names.set(hex, (image.RepoTags ?? []).map(canonical))
  }
  return names
}

async function loadDocker(
  store: Store,
  session: Session,
  archive: Archive,
  options: LoadOptions,
): Promise<StoredImage[]> {
  const list = readDockerManifest(archive)
  if (options.name !== undefined && list.length !== 1)
    throw new ImageError('ARCHIVE_INVALID', `load: a name was given, but the archive has ${list.length} images`)
  const images: StoredImage[] = []
  for (const entry of list) {
    const config = readMember(archive, entry.Config, MAX_DOCUMENT)
    const named = /^(?:blobs\/sha256\/)?([0-9a-f]{64})(?:\.json)?$/.exec(entry.Config)?.[1]
    if (named !== undefined && digestBytes(config) !== digestOf(named))
      throw new ImageError('DIGEST_MISMATCH', `load: config ${entry.Config} has other content`, {
        member: entry.Config,
      })
    const diffIDs = readConfig(config).rootfs.diff_ids
    const members = entry.Layers ?? []
    if (members.length !== diffIDs.length)
      throw new ImageError('MANIFEST_INVALID', `load: ${members.length} layers, but ${diffIDs.length} diffIDs`)
    const regions = members.map(name => {
      const region = archive.region(name)
      if (region === undefined)
        throw new ImageError('BLOB_MISSING', `load: layer ${name} is not in the archive`, { member: name })
      return region
    })
    const known = diffIDs.map(id => layerRecord(store, id))
    const missing = regions.flatMap((region, i) =>
      known[i] === undefined ? [{ region, diffID: diffIDs[i] as (typeof diffIDs)[number] }] : [],
    )
    const imported = await importLayers(
      store,
      session,
      missing.map(({ region, diffID }) => ({ source: { kind: 'file', ...region }, expect: { diffID } })),
      {
        limits: options.limits,
        progress: (i, bytes) => {
          const id = missing[i]?.diffID
          if (id !== undefined && isDigest(id)) options.events?.progress?.(id, bytes)
        },
      },
    )
    const layers = known.map(record => record ?? (imported.shift() as LayerRecord))
    const types = { gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd, none: MEDIA.ociLayer }
    const names = options.name === undefined ? (entry.RepoTags ?? []).map(canonical) : [canonical(options.name)]
    const image = await addImage(
      store,
      session,
      {
        config,
        layers: layers.map(l => ({ digest: l.digest, size: l.size, mediaType: types[l.compression] })),
      },
      names,
    )
    images.push({ ...image, names })
  }
  return images
}
