/**
 * Owns store -> registry: `pushImage`. Blobs go as they are in the store, several at once; those the registry has, or can
 * take from another repository, are not sent. The manifest goes last.
 */
import type { Digest } from '../digest.js'
import { findCredential } from './auth.js'
import { listImages, readBlob, resolveImage } from './images.js'
import { MEDIA } from './manifest.js'
import { nameOf, parseReference, parseRepository } from './reference.js'
import { Registry } from './registry.js'
import { blobChunks } from './save.js'
import { ImageError } from './error.js'
import type { Store } from './store.js'

export interface PushOptions {
  readonly tlsVerify?: boolean | undefined
  readonly events?: {
    layer?(digest: Digest, size: number, state: 'exists' | 'mounted' | 'pushed'): void
    progress?(digest: Digest, bytes: number): void
    retry?(message: string): void
  }
}

const PARALLEL = 3

/** Pushes the image `source` as `target` (default: the same name). Returns the manifest's digest. Throws ImageError. */
export async function pushImage(
  store: Store,
  source: string,
  target: string = source,
  options: PushOptions = {},
): Promise<Digest> {
  const reference = parseReference(target)
  if (reference.tag === undefined)
    throw new ImageError('REFERENCE_INVALID', `push ${target}: a tag is needed`, { reference: target })
  const { registry: host, repository, tag } = reference
  const lock = await store.lock('shared')
  try {
    const image = resolveImage(store, source)
    const registry = new Registry(host, {
      credential: await findCredential(host),
      tlsVerify: options.tlsVerify,
      ...(options.events?.retry ? { onRetry: message => options.events?.retry?.(message) } : {}),
    })
    // Repositories of this registry that may have a layer already: those of images here that share it.
    const siblings = new Map<Digest, string>()
    for (const other of listImages(store))
      for (const name of other.names) {
        const r = parseReference(name)
        if (r.registry !== host || r.repository === repository || nameOf(r) === nameOf(reference)) continue
        for (const layer of other.layers) siblings.set(layer.digest, r.repository)
      }
    const queue = [...new Map(image.layers.map(l => [l.digest, l])).values()]
    const { events } = options
    const lane = async (): Promise<void> => {
      for (let layer = queue.shift(); layer !== undefined; layer = queue.shift()) {
        const { digest, size } = layer
        const from = siblings.get(digest)
        if (await registry.hasBlob(repository, digest)) events?.layer?.(digest, size, 'exists')
        else if (from !== undefined && (await registry.mountBlob(repository, digest, from)))
          events?.layer?.(digest, size, 'mounted')
        else {
          const blob = layer
          await registry.pushBlob(repository, digest, size, () =>
            counted(blobChunks(store, blob), n => events?.progress?.(digest, n)),
          )
          events?.layer?.(digest, size, 'pushed')
        }
      }
    }
    await Promise.all(Array.from({ length: PARALLEL }, lane))
    const config = readBlob(store, image.id)
    if (!(await registry.hasBlob(repository, image.id)))
      await registry.pushBlob(repository, image.id, config.length, async function* () {
        yield config
      })
    const manifest = readBlob(store, image.digest)
    await registry.pushManifest(repository, tag, manifest, image.manifest.mediaType ?? MEDIA.ociManifest)
    return image.digest
  } finally {
    lock.release()
  }
}

/** Every name here of the repository `text`, a name without tag. Throws IMAGE_NOT_FOUND when there is none. */
export function localTags(store: Store, text: string): string[] {
  const wanted = nameOf(parseRepository(text))
  const names = listImages(store)
    .flatMap(image => image.names)
    .filter(name => nameOf(parseReference(name)) === wanted)
  if (names.length === 0) throw new ImageError('IMAGE_NOT_FOUND', `push ${text}: no image here has that name`)
  return names.sort()
}

async function* counted(source: AsyncIterable<Buffer>, tell: (bytes: number) => void): AsyncGenerator<Buffer> {
  let sum = 0
  for await (const chunk of source) {
    sum += chunk.length
    tell(sum)
    yield chunk
  }
}
