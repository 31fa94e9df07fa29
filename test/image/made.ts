/** Small images made in memory: layers from raw tars, as a blob map, an OCI archive, or in a store. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { digestBytes, hexOf, type Digest } from '../../lib/digest.js'
import { rawTar, type RawEntry } from '../layer/raw-tar.js'

export interface MadeImage {
  readonly blobs: Map<Digest, Buffer>
  readonly manifest: Buffer
  readonly digest: Digest
  readonly config: Digest
  readonly layers: { digest: Digest; diffID: Digest; blob: Buffer; tar: Buffer }[]
}

export interface MadeOptions {
  /** Changes the documents before they are digested: what a liar would publish. */
  readonly config?: (config: Record<string, unknown>) => void
  readonly manifest?: (manifest: Record<string, unknown>) => void
  readonly compress?: (tar: Buffer) => Buffer
  readonly layerType?: string
}

export function makeImage(layers: readonly (readonly RawEntry[] | Buffer)[], options: MadeOptions = {}): MadeImage {
  const made = layers.map(entries => {
    const tar = Buffer.isBuffer(entries) ? entries : rawTar(entries)
    const blob = (options.compress ?? gzipSync)(tar)
    return { tar, blob, digest: digestBytes(blob), diffID: digestBytes(tar) }
  })
  const configDocument: Record<string, unknown> = {
    created: '2024-01-01T00:00:00Z',
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: made.map(l => l.diffID) },
    history: made.map((_, i) => ({ created_by: `step ${i}` })),
  }
  options.config?.(configDocument)
  const config = Buffer.from(JSON.stringify(configDocument))
  const document: Record<string, unknown> = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestBytes(config), size: config.length },
    layers: made.map(l => ({
      mediaType: options.layerType ?? 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest: l.digest,
      size: l.blob.length,
    })),
  }
  options.manifest?.(document)
  const manifest = Buffer.from(JSON.stringify(document))
  const blobs = new Map<Digest, Buffer>([
    [digestBytes(config), config],
    [digestBytes(manifest), manifest],
    ...made.map(l => [l.digest, l.blob] as [Digest, Buffer]),
  ])
  return { blobs, manifest, digest: digestBytes(manifest), config: digestBytes(config), layers: made }
}

/** The files of an OCI layout of the image, by path. */
function layoutFiles(image: MadeImage, name: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>([
    ['oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')],
    [
      'index.json',
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          manifests: [
            {
              mediaType: 'application/vnd.oci.image.manifest.v1+json',
              digest: image.digest,
              size: image.manifest.length,
              annotations: { 'org.opencontainers.image.ref.name': name },
            },
          ],
        }),
      ),
    ],
  ])
  for (const [digest, bytes] of image.blobs) files.set(`blobs/sha256/${hexOf(digest)}`, bytes)
  return files
}

/** The image as an OCI archive. `change` may damage members by name. */
export function ociArchive(
  image: MadeImage,
  name = 'docker.io/test/image:1',
  change?: (files: Map<string, Buffer>) => void,
): Buffer {
  const files = layoutFiles(image, name)
  change?.(files)
  return rawTar([...files].map(([member, data]) => ({ name: member, data })))
}

/** The image as an OCI layout in an empty directory. */
export function ociLayout(image: MadeImage, directory: string, name: string): void {
  for (const [path, bytes] of layoutFiles(image, name)) {
    const place = join(directory, path)
    mkdirSync(dirname(place), { recursive: true })
    writeFileSync(place, bytes)
  }
}
