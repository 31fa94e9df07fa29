/**
 * Owns index.json: which images the store has and what they are called. One descriptor per name, so other tools find an
 * image by `oci:STORE:docker.io/library/debian:12`; an image without a name has one descriptor without the annotation.
 * Invariant: it is replaced whole, under its lock, after everything it names is in place.
 */
import { readFileSync } from 'node:fs'
import type { Digest } from '../digest.js'
import { ImageError } from './error.js'
import { type Descriptor, MEDIA, readIndex } from './manifest.js'
import { type Store, writeAtomic } from './store.js'

/** image-spec, annotations.md. */
export const REF_NAME = 'org.opencontainers.image.ref.name'
/** The digest a registry knows the image by, where it is not the manifest's here (multi-arch index, Docker manifest). */
export const REPO_DIGEST = 'dev.lamina.repo-digest'

export function readDescriptors(store: Store): Descriptor[] {
  let bytes: Buffer
  try {
    bytes = readFileSync(store.indexFile)
  } catch (error) {
    throw new ImageError('STORE_DAMAGED', `open store ${store.root}: index.json cannot be read`, {}, error)
  }
  return readIndex(bytes, `${store.root}/index.json`).manifests
}

export function nameOfDescriptor(descriptor: Descriptor): string | undefined {
  return descriptor.annotations?.[REF_NAME]
}

/** Replaces the list by what `change` makes of it. Other fields of index.json are kept. */
export async function updateDescriptors(store: Store, change: (now: Descriptor[]) => Descriptor[]): Promise<void> {
  const lock = await store.lockIndex()
  try {
    const index = readIndex(readFileSync(store.indexFile), `${store.root}/index.json`)
    const manifests = change(index.manifests)
    writeAtomic(store.indexFile, JSON.stringify({ ...index, mediaType: MEDIA.ociIndex, manifests }), store.tmp)
  } finally {
    lock.release()
  }
}

/**
 * Makes `names` (canonical references) mean `image`, taking them from whatever had them. What loses its last name stays
 * as an image without a name. No names: the image is kept unnamed unless it has one.
 */
export async function nameImage(
  store: Store,
  image: { digest: Digest; size: number; annotations?: Record<string, string> },
  names: readonly string[],
): Promise<void> {
  await updateDescriptors(store, now => {
    const plain = { mediaType: MEDIA.ociManifest, digest: image.digest, size: image.size }
    const kept: Descriptor[] = []
    const orphans: Descriptor[] = []
    for (const d of now) {
      const name = nameOfDescriptor(d)
      if (name !== undefined && names.includes(name)) {
        if (d.digest !== image.digest) orphans.push({ ...d, annotations: without(d.annotations, REF_NAME) })
      } else if (name === undefined && d.digest === image.digest) continue
      else kept.push(d)
    }
    for (const o of orphans) if (!kept.some(d => d.digest === o.digest)) kept.push(o)
    for (const name of names) kept.push({ ...plain, annotations: { ...image.annotations, [REF_NAME]: name } })
    if (!kept.some(d => d.digest === image.digest)) kept.push({ ...plain, annotations: { ...image.annotations } })
    return kept
  })
}

export function without(annotations: Record<string, string> | undefined, key: string): Record<string, string> {
  return Object.fromEntries(Object.entries(annotations ?? {}).filter(([k]) => k !== key))
}
