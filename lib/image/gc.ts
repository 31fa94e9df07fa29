/**
 * Owns removing: names (`untag`), images (`removeImage`, `pruneImages`) and what nothing refers to any more (`collect`).
 * Invariant: `collect` runs under the exclusive store lock and keeps everything reachable from index.json and from live
 * pins; what it cannot read, it keeps the parts of, and says so.
 */
import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bytesOf } from '../bytes.js'
import { type ChainID, chainID, type DiffID, type Digest, digestOf } from '../digest.js'
import { EMPTY_SHA256, RESERVED } from '../layer/erofs-format.js'
import { openIndex } from '../layer/indexed.js'
import { DT } from '../sys/constants.js'
import { ImageError } from './error.js'
import { layerRecord } from './layer-record.js'
import { listImages, readDocument, resolveImage, type StoredImage } from './images.js'
import { nameOfDescriptor, readDescriptors, updateDescriptors, without, REF_NAME } from './index-json.js'
import { tryLock } from './lock.js'
import { readConfig, readManifest } from './manifest.js'
import { livePins } from './pin.js'
import { familiarName, formatReference, parseReference } from './reference.js'
import type { Store } from './store.js'

export interface Removed {
  readonly blobs: number
  readonly layers: number
  readonly objects: number
  /** Disk space given back: allocated bytes of what was removed. */
  readonly bytes: number
}

export interface ImageRemoval {
  readonly untagged: readonly string[]
  readonly deleted: readonly Digest[]
  /** undefined: another command is using the store; the space comes back with the next prune. */
  readonly freed: Removed | undefined
}

/**
 * Removes a name, or, given an ID, the image with its names (several only with `force`). An image that a container or a
 * running command uses is not removed: IMAGE_IN_USE; with `force` it loses its names and goes when the use ends.
 * Throws ImageError.
 */
export async function removeImage(
  store: Store,
  text: string,
  options: { force?: boolean } = {},
): Promise<ImageRemoval> {
  const image = resolveImage(store, text)
  const byName = nameGiven(image, text)
  const users = await usersOf(store, image)
  const names = byName === undefined ? image.names : [byName]
  const last = names.length === image.names.length
  if (byName === undefined && image.names.length > 1 && options.force !== true)
    throw new ImageError('IMAGE_IN_USE', `remove image ${text}: it has ${image.names.length} names (use -f)`, {
      names: image.names,
    })
  if (last && users.length > 0 && options.force !== true)
    throw new ImageError('IMAGE_IN_USE', `remove image ${text}: in use by ${users[0]?.owner ?? 'a command'}`, {
      users: users.map(u => u.owner),
    })
  await updateDescriptors(store, now =>
    now.flatMap(d => {
      if (d.digest !== image.digest) return [d]
      const name = nameOfDescriptor(d)
      if (name !== undefined && !names.includes(name)) return [d]
      // In use: it stays, without a name, until nobody uses it.
      return last && users.length > 0 && d.digest === image.digest && (name === names[0] || name === undefined)
        ? [{ ...d, annotations: without(d.annotations, REF_NAME) }]
        : []
    }),
  )
  const deleted = last && users.length === 0 ? [image.id] : []
  return { untagged: names.map(familiarName), deleted, freed: deleted.length > 0 ? await tryCollect(store) : undefined }
}

/** Who uses the image. A process that is just ending (a mount's server after unmount) is given a second to do so. */
async function usersOf(store: Store, image: StoredImage): Promise<{ readonly owner: string }[]> {
  for (let waited = 0; ; waited += 50) {
    const users = livePins(store).filter(pin => uses(pin, image))
    if (waited >= 1000 || users.length === 0 || users.some(pin => pin.process === null)) return users
    await sleep(50)
  }
}

/** Pins name an image by manifest or by ID (config). */
export function uses(pin: { readonly images: readonly Digest[] }, image: StoredImage): boolean {
  return pin.images.includes(image.digest) || pin.images.includes(image.id)
}

function nameGiven(image: StoredImage, text: string): string | undefined {
  try {
    const name = formatReference(parseReference(text))
    return image.names.includes(name) ? name : undefined
  } catch {
    return undefined
  }
}

/**
 * Removes images without a name that nothing uses; with `all`, every image that no container or command uses; then
 * collects. `keep` says of an image that it stays. Throws ImageError.
 */
export async function pruneImages(
  store: Store,
  options: { all?: boolean; keep?: (image: StoredImage) => boolean } = {},
): Promise<ImageRemoval & { readonly freed: Removed }> {
  const lock = await store.lock('exclusive')
  try {
    const pins = livePins(store)
    const gone = listImages(store).filter(
      image =>
        !pins.some(pin => uses(pin, image)) &&
        (options.all === true || image.names.length === 0) &&
        options.keep?.(image) !== true,
    )
    const digests = new Set(gone.map(image => image.digest))
    await updateDescriptors(store, now => now.filter(d => !digests.has(d.digest)))
    return {
      untagged: gone.flatMap(image => image.names.map(familiarName)),
      deleted: gone.map(image => image.id),
      freed: collect(store),
    }
  } finally {
    lock.release()
  }
}

/** Collects if nobody is adding to the store just now. */
async function tryCollect(store: Store): Promise<Removed | undefined> {
  const lock = tryLock(join(store.root, 'lock'), 'exclusive')
  if (lock === undefined) return undefined
  try {
    return collect(store)
  } finally {
    lock.release()
  }
}

/** What index.json and live pins reach. */
export interface Reachable {
  readonly blobs: Set<Digest>
  readonly layers: Set<DiffID>
  readonly chains: Set<ChainID>
  /** Stacks whose last layer's settled index stays: those of the images and all they stand on. */
  readonly settled: Set<ChainID>
  /** Images whose documents cannot be read. */
  readonly broken: readonly Digest[]
}

export function reachable(store: Store): Reachable {
  const blobs = new Set<Digest>()
  const layers = new Set<DiffID>()
  const chains = new Set<ChainID>()
  const settled = new Set<ChainID>()
  const broken: Digest[] = []
  const pins = livePins(store)
  const known = readDescriptors(store).map(d => d.digest)
  // A pin of a removed image may name what is gone, or a config: its layers are what counts.
  const images = new Set([...known, ...pins.flatMap(p => p.images.filter(d => isManifest(store, d)))])
  for (const digest of images) {
    blobs.add(digest)
    try {
      const manifest = readDocument(store, digest, readManifest)
      blobs.add(manifest.config.digest)
      for (const l of manifest.layers) blobs.add(l.digest)
      let chain: ChainID | undefined
      for (const diffID of readDocument(store, manifest.config.digest, readConfig).rootfs.diff_ids) {
        layers.add(diffID)
        chain = chainID(chain, diffID)
        settled.add(chain)
      }
      if (chain !== undefined) chains.add(chain)
    } catch {
      broken.push(digest)
    }
  }
  for (const pin of pins) {
    for (const l of pin.layers) layers.add(l)
    for (const c of pin.chains) chains.add(c)
  }
  return { blobs, layers, chains, settled, broken }
}

function isManifest(store: Store, digest: Digest): boolean {
  try {
    readDocument(store, digest, readManifest)
    return true
  } catch {
    return false
  }
}

/**
 * Removes blobs, layer and chain indexes, records and objects that nothing reaches. The caller holds the exclusive lock.
 * When an image cannot be read, layers and objects are left alone: what it needs is not known (fsck tells more).
 */
export function collect(store: Store): Removed {
  store.sweep()
  const keep = reachable(store)
  let bytes = 0
  const remove = (path: string): void => {
    bytes += (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512
    rmSync(path, { force: true })
  }
  if (keep.broken.length > 0) return { blobs: 0, layers: 0, objects: 0, bytes: 0 }
  // A layer that a pin keeps keeps its blob too: an image may be made of it.
  const records = join(store.root, 'records')
  let layers = 0
  for (const hex of readdirSync(join(store.root, 'layers')))
    if (!keep.layers.has(digestOf(hex) as string as DiffID)) {
      remove(join(store.root, 'layers', hex))
      layers++
    }
  for (const file of readdirSync(join(store.root, 'chains'))) {
    if (file === 'scratch') continue
    const chain = digestOf(file.slice(0, 64)) as string as ChainID
    if (!(file.endsWith('.top') ? keep.settled : keep.chains).has(chain)) remove(join(store.root, 'chains', file))
  }
  const pinned = pinnedBlobs(store, keep)
  let blobs = 0
  for (const hex of readdirSync(join(store.root, 'blobs/sha256'))) {
    const digest = digestOf(hex)
    if (keep.blobs.has(digest) || pinned.has(digest)) continue
    remove(join(store.root, 'blobs/sha256', hex))
    blobs++
  }
  for (const hex of readdirSync(records)) {
    const id = digestOf(hex)
    if (!keep.blobs.has(id) && !pinned.has(id) && !keep.layers.has(id as string as DiffID)) remove(join(records, hex))
  }
  const used = usedObjects(store)
  let objects = 0
  const top = join(store.objects, RESERVED)
  for (const prefix of readdirSync(top))
    for (const rest of readdirSync(join(top, prefix)))
      if (!used.has(prefix + rest)) {
        remove(join(top, prefix, rest))
        objects++
      }
  return { blobs, layers, objects, bytes }
}

function pinnedBlobs(store: Store, keep: Reachable): Set<Digest> {
  const found = new Set<Digest>()
  for (const diffID of keep.layers) {
    const record = layerRecord(store, diffID)
    if (record !== undefined) found.add(record.digest)
  }
  return found
}

/** SHA-256 (hex) of every object that an index in layers/ or chains/ names. Throws IndexFormatError for a damaged one. */
export function usedObjects(store: Store): Set<string> {
  const used = new Set<string>([EMPTY_SHA256])
  for (const dir of ['layers', 'chains'])
    for (const hex of readdirSync(join(store.root, dir)))
      eachObject(store, join(store.root, dir, hex), object => used.add(object))
  return used
}

/** Calls `each` for the object of every regular file in an index, once for all hard links. */
export function eachObject(store: Store, index: string, each: (hex: string, size: number) => void): void {
  const layer = openIndex(bytesOf(index), bytesOf(store.objects), { whole: true })
  try {
    const seen = new Set<number>()
    const walk: number[] = [layer.root]
    for (let dir = walk.pop(); dir !== undefined; dir = walk.pop())
      layer.image.list(dir, (_name, type, nid) => {
        if (type === DT.DIR) walk.push(nid)
        else if (type === DT.REG && layer.overlayXattr(nid, 'link') === undefined) {
          const hex = layer.object(nid)
          if (typeof hex !== 'string') return
          if (layer.image.load(nid) === 0 && layer.image.nlink > 1) {
            if (seen.has(nid)) return
            seen.add(nid)
          }
          each(hex, layer.image.size)
        }
      })
  } finally {
    layer.close()
  }
}
