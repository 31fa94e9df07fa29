/** Owns registry -> store: `pullImage`. Layers download and unpack at once, several in parallel; known ones are not asked for. */
import { findCredential } from './auth.js'
import { ImageError } from './error.js'
import { type ImportEvents, importImage } from './import-image.js'
import { REPO_DIGEST } from './index-json.js'
import type { StoredImage } from './images.js'
import { isIndex, readIndex } from './manifest.js'
import { selectPlatform } from './platform.js'
import { formatReference, parseReference, parseRepository } from './reference.js'
import { Registry } from './registry.js'
import type { IngestLimits } from '../layer/tar-ingest.js'
import type { Digest } from '../digest.js'
import type { Store } from './store.js'

export interface PullOptions {
  readonly platform?: string | undefined
  readonly tlsVerify?: boolean | undefined
  readonly limits?: IngestLimits | undefined
  readonly events?: (ImportEvents & { retry?(message: string): void }) | undefined
}

export interface Pulled {
  readonly image: StoredImage
  /** What the registry knows the reference by: of a multi-platform image the index's digest. */
  readonly digest: Digest
  /** Nothing was new. */
  readonly upToDate: boolean
}

/** Pulls what `text` names for one platform and names it so. Throws ImageError, TarError, FsError; then no name changed. */
export async function pullImage(store: Store, text: string, options: PullOptions = {}): Promise<Pulled> {
  const reference = parseReference(text)
  const { registry: host, repository } = reference
  const registry = await registryFor(host, options)
  const lock = await store.lock('shared')
  const session = store.session()
  try {
    const top = await registry.manifest(repository, reference.digest ?? (reference.tag as string))
    let found = top
    for (let depth = 0; isIndex(found.bytes, found.mediaType); depth++) {
      if (depth === 3) throw new ImageError('MANIFEST_INVALID', `pull ${text}: indexes nest too deep`)
      found = await registry.manifest(repository, selectPlatform(readIndex(found.bytes), options.platform).digest)
    }
    let fresh = false
    const image = await importImage(
      store,
      session,
      found.bytes,
      {
        config: d => registry.document(repository, d.digest, d.size),
        layer: d => {
          fresh = true
          return { kind: 'stream', open: () => registry.blob(repository, d.digest, d.size), size: d.size }
        },
      },
      [formatReference({ ...reference, digest: reference.tag === undefined ? reference.digest : undefined })],
      { limits: options.limits, events: options.events, annotations: { [REPO_DIGEST]: top.digest } },
    )
    return { image, digest: top.digest, upToDate: !fresh }
  } finally {
    session.close()
    lock.release()
  }
}

/** Every tag that the registry has of `text`, a name without tag, as a reference to pull. Throws ImageError. */
export async function remoteTags(text: string, options: PullOptions = {}): Promise<string[]> {
  const { registry: host, repository } = parseRepository(text)
  const tags = await (await registryFor(host, options)).tags(repository)
  if (tags.length === 0) throw new ImageError('REGISTRY_NOT_FOUND', `pull ${text}: the registry has no tag of it`)
  return tags.map(tag => `${text}:${tag}`)
}

async function registryFor(host: string, { tlsVerify, events }: PullOptions): Promise<Registry> {
  return new Registry(host, {
    credential: await findCredential(host),
    tlsVerify,
    ...(events?.retry ? { onRetry: message => events.retry?.(message) } : {}),
  })
}
