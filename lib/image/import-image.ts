/**
 * Owns image documents + layer sources -> stored image: what load and pull have in common.
 * Invariant: the image's names are given last, when every layer has been found to be what manifest and config say.
 */
import { type DiffID, type Digest, digestBytes } from '../digest.js'
import type { IngestLimits } from '../layer/tar-ingest.js'
import { ImageError } from './error.js'
import { layerRecord } from './layer-record.js'
import { addImage, type StoredImage } from './images.js'
import type { LayerSource } from './layer-source.js'
import { importLayers, type LayerTask } from './layer-tasks.js'
import { type Descriptor, MEDIA, ociLayerType, readConfig, readManifest } from './manifest.js'
import type { Session, Store } from './store.js'

/** What is told while an image comes in. */
export interface ImportEvents {
  /** A layer begins (`known`: the store has it already). */
  layer?(digest: Digest, size: number, known: boolean): void
  progress?(digest: Digest, bytes: number): void
  done?(digest: Digest): void
  warn?(message: string): void
}

export interface ImportImageOptions {
  readonly limits?: IngestLimits | undefined
  readonly events?: ImportEvents | undefined
  readonly annotations?: Record<string, string>
}

/**
 * Stores the image of `manifest` (bytes whose digest the caller has verified) under `names`. `config` and `layer` give
 * its parts; layers that the store has are not asked for. A Docker manifest becomes the OCI one of the same layers.
 * Throws ImageError, TarError, FsError; then no name has changed.
 */
export async function importImage(
  store: Store,
  session: Session,
  manifestBytes: Buffer,
  parts: {
    readonly config: (descriptor: Descriptor) => Promise<Buffer>
    readonly layer: (descriptor: Descriptor) => LayerSource
  },
  names: readonly string[],
  options: ImportImageOptions = {},
): Promise<StoredImage> {
  const manifest = readManifest(manifestBytes)
  const config = await parts.config(manifest.config)
  if (digestBytes(config) !== manifest.config.digest)
    throw new ImageError('DIGEST_MISMATCH', `import image: config is not ${manifest.config.digest}`, {
      digest: manifest.config.digest,
    })
  const diffIDs = readConfig(config).rootfs.diff_ids
  if (diffIDs.length !== manifest.layers.length)
    throw new ImageError(
      'MANIFEST_INVALID',
      `import image: ${manifest.layers.length} layers, but ${diffIDs.length} diffIDs`,
    )
  await importMissing(store, session, manifest.layers, diffIDs, parts.layer, options)
  const converted = manifest.config.mediaType !== MEDIA.ociConfig || manifest.mediaType === MEDIA.dockerManifest
  return addImage(
    store,
    session,
    {
      config,
      layers: manifest.layers.map(l => ({ digest: l.digest, size: l.size, mediaType: ociLayerType(l.mediaType) })),
      annotations: manifest.annotations,
      manifest: converted ? undefined : manifestBytes,
    },
    names,
    options.annotations,
  )
}

async function importMissing(
  store: Store,
  session: Session,
  layers: readonly Descriptor[],
  diffIDs: readonly DiffID[],
  source: (descriptor: Descriptor) => LayerSource,
  options: ImportImageOptions,
): Promise<void> {
  const { events } = options
  const tasks: LayerTask[] = []
  const digests: Digest[] = []
  const wanted = new Map<Digest, DiffID>()
  layers.forEach((layer, i) => {
    const diffID = diffIDs[i] as DiffID
    const before = wanted.get(layer.digest)
    if (before !== undefined) {
      // The same blob twice in one image: once is enough, but it cannot unpack to two things.
      if (before !== diffID)
        throw new ImageError('DIFFID_MISMATCH', `import image: layer ${layer.digest} has two diffIDs`, {
          digest: layer.digest,
        })
      return
    }
    wanted.set(layer.digest, diffID)
    const record = layerRecord(store, layer.digest)
    if (record !== undefined && record.diffID !== diffID)
      throw new ImageError(
        'DIFFID_MISMATCH',
        `import layer ${layer.digest}: it unpacks to ${record.diffID}, its image says ${diffID}`,
        {
          digest: layer.digest,
          diffID,
        },
      )
    events?.layer?.(layer.digest, layer.size, record !== undefined)
    if (record !== undefined) return
    const have = store.blobSize(layer.digest) === layer.size
    digests.push(layer.digest)
    tasks.push({
      source: have ? { kind: 'file', path: store.blob(layer.digest), offset: 0, size: layer.size } : source(layer),
      expect: {
        digest: layer.digest,
        size: layer.size,
        diffID,
      },
      keepBlob: !have,
    })
  })
  const results = await importLayers(store, session, tasks, {
    limits: options.limits,
    progress: (i, bytes) => events?.progress?.(digests[i] as Digest, bytes),
  })
  for (const result of results) {
    events?.done?.(result.digest)
    for (const [name, count] of Object.entries(result.droppedXattrs))
      events?.warn?.(`layer ${result.digest}: dropped xattr ${name} of ${count} files (no namespace for it)`)
  }
}
