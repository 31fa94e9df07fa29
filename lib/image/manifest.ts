/**
 * Owns the JSON documents of images: manifests, indexes and configs of the OCI image specification and of Docker's
 * schema 2, read strictly where Lamina depends on them.
 * Invariant: what `readManifest` and friends return has digests in the one understood form and sizes that are integers
 * >= 0; documents above 4 MiB are refused before they are parsed.
 */
import * as v from 'valibot'
import { type DiffID, type Digest, isDigest } from '../digest.js'
import { ImageError } from './error.js'

export const MEDIA = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
} as const

/** distribution-spec: a registry must take manifests of 4 MiB; more is nobody's honest manifest. */
export const MAX_DOCUMENT = 4 * 1024 * 1024

const layerTypes: Readonly<Record<string, string>> = {
  [MEDIA.ociLayer]: MEDIA.ociLayer,
  [MEDIA.ociLayerGzip]: MEDIA.ociLayerGzip,
  [MEDIA.ociLayerZstd]: MEDIA.ociLayerZstd,
  [MEDIA.dockerLayer]: MEDIA.ociLayer,
  [MEDIA.dockerLayerGzip]: MEDIA.ociLayerGzip,
  [MEDIA.dockerLayerZstd]: MEDIA.ociLayerZstd,
}

const digest = v.custom<Digest>(isDigest, 'is not sha256: and 64 hex digits')
const diffID = v.custom<DiffID>(isDigest, 'is not sha256: and 64 hex digits')
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
const annotations = v.optional(v.record(v.string(), v.string()))
const platform = v.looseObject({
  architecture: v.string(),
  os: v.string(),
  variant: v.optional(v.string()),
})
const descriptor = v.looseObject({
  mediaType: v.string(),
  digest,
  size,
  annotations,
  platform: v.optional(platform),
})
const manifest = v.looseObject({
  schemaVersion: v.literal(2),
  mediaType: v.optional(v.string()),
  config: descriptor,
  layers: v.pipe(v.array(descriptor), v.maxLength(1000)),
  annotations,
})
const index = v.looseObject({
  schemaVersion: v.literal(2),
  mediaType: v.optional(v.string()),
  manifests: v.array(descriptor),
  annotations,
})
const strings = v.optional(v.nullable(v.array(v.string())))
const objectOfObjects = v.optional(v.nullable(v.record(v.string(), v.looseObject({}))))
const history = v.looseObject({
  created: v.optional(v.string()),
  created_by: v.optional(v.string()),
  comment: v.optional(v.string()),
  author: v.optional(v.string()),
  empty_layer: v.optional(v.boolean()),
})
const config = v.looseObject({
  created: v.optional(v.nullable(v.string())),
  architecture: v.optional(v.string()),
  os: v.optional(v.string()),
  variant: v.optional(v.string()),
  author: v.optional(v.string()),
  config: v.optional(
    v.nullable(
      v.looseObject({
        Env: strings,
        Cmd: strings,
        Entrypoint: strings,
        User: v.optional(v.string()),
        WorkingDir: v.optional(v.string()),
        Labels: v.optional(v.nullable(v.record(v.string(), v.string()))),
        ExposedPorts: objectOfObjects,
        Volumes: objectOfObjects,
        StopSignal: v.optional(v.string()),
        Shell: strings,
      }),
    ),
  ),
  rootfs: v.looseObject({ type: v.literal('layers'), diff_ids: v.array(diffID) }),
  history: v.optional(v.nullable(v.array(history))),
})

export type Descriptor = v.InferOutput<typeof descriptor>
export type Manifest = v.InferOutput<typeof manifest>
export type Index = v.InferOutput<typeof index>
export type ImageConfig = v.InferOutput<typeof config>
export type HistoryEntry = v.InferOutput<typeof history>

/** Whether bytes are an index (a list of manifests) rather than a manifest, by media type or shape. Throws as readJson. */
export function isIndex(bytes: Buffer, mediaType: string | undefined): boolean {
  if (mediaType === MEDIA.ociIndex || mediaType === MEDIA.dockerList) return true
  if (mediaType === MEDIA.ociManifest || mediaType === MEDIA.dockerManifest) return false
  return Array.isArray((readJson(bytes, 'manifest') as { manifests?: unknown } | null)?.manifests)
}

/** A manifest of layers this program can read. Throws ImageError MANIFEST_INVALID, MANIFEST_TOO_LARGE, MEDIA_TYPE. */
export function readManifest(bytes: Buffer, what = 'manifest'): Manifest {
  const json = readJson(bytes, what)
  const version = (json as { schemaVersion?: unknown } | null)?.schemaVersion
  if (version === 1) throw new ImageError('MEDIA_TYPE', `read ${what}: Docker schema 1 manifests are not supported`)
  const result = parse(manifest, json, what)
  if (
    result.mediaType !== undefined &&
    result.mediaType !== MEDIA.ociManifest &&
    result.mediaType !== MEDIA.dockerManifest
  )
    throw new ImageError('MEDIA_TYPE', `read ${what}: media type ${result.mediaType} is no image manifest`)
  if (result.config.mediaType !== MEDIA.ociConfig && result.config.mediaType !== MEDIA.dockerConfig)
    throw new ImageError(
      'MEDIA_TYPE',
      `read ${what}: config of type ${result.config.mediaType} is no container image's`,
    )
  for (const layer of result.layers) ociLayerType(layer.mediaType)
  return result
}

export function readIndex(bytes: Buffer, what = 'index'): Index {
  return parse(index, readJson(bytes, what), what)
}

export function readConfig(bytes: Buffer, what = 'config'): ImageConfig {
  return parse(config, readJson(bytes, what), what)
}

/** The OCI media type for a layer's. Throws ImageError MEDIA_TYPE for what is no layer that can be unpacked. */
export function ociLayerType(mediaType: string): string {
  const found = layerTypes[mediaType]
  if (found !== undefined) return found
  const foreign = /foreign|nondistributable/.test(mediaType) ? ' (foreign layers are not distributed)' : ''
  throw new ImageError('MEDIA_TYPE', `read manifest: layer of type ${mediaType} is not supported${foreign}`, {
    mediaType,
  })
}

export function readJson(bytes: Buffer, what: string): unknown {
  if (bytes.length > MAX_DOCUMENT)
    throw new ImageError('MANIFEST_TOO_LARGE', `read ${what}: ${bytes.length} bytes, the limit is ${MAX_DOCUMENT}`)
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown
  } catch {
    throw new ImageError('MANIFEST_INVALID', `read ${what}: not JSON`)
  }
}

function parse<T extends v.GenericSchema>(schema: T, json: unknown, what: string): v.InferOutput<T> {
  const result = v.safeParse(schema, json, { abortEarly: true })
  if (result.success) return result.output
  const issue = result.issues[0]
  const where = v.getDotPath(issue)
  throw new ImageError('MANIFEST_INVALID', `read ${what}: ${where ?? 'document'}: ${issue.message}`)
}

/** Platform of this machine in Go's words, as images name it. */
export function hostPlatform(): { os: string; architecture: string; variant?: string } {
  const names: Record<string, string> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' }
  const architecture = names[process.arch] ?? process.arch
  return { os: 'linux', architecture, ...(architecture === 'arm64' ? { variant: 'v8' } : {}) }
}
