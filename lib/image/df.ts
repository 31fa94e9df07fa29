/**
 * Owns what the store takes: `diskUsage`, by kind and by image, and what sharing saves.
 * Formats: bytes. `size` counts file contents as an unpacked copy would; `disk` is what is allocated.
 */
import { type Dirent, lstatSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { RESERVED } from '../layer/erofs-format.js'
import { reachable, eachObject, uses } from './gc.js'
import { listImages, type StoredImage } from './images.js'
import { livePins } from './pin.js'
import type { Digest } from '../digest.js'
import type { Store } from './store.js'

export interface Usage {
  readonly count: number
  readonly disk: number
}

export interface ImageUsage {
  readonly image: StoredImage
  /** Contents of all its files, each inode of each layer once. */
  readonly size: number
  /** Of that, in objects that other images have too, and in its own alone. */
  readonly shared: number
  readonly unique: number
  /** Containers and commands that use it now. */
  readonly users: number
}

export interface DiskUsage {
  readonly blobs: Usage
  readonly objects: Usage
  /** Layer and chain indexes. */
  readonly indexes: Usage
  readonly images: readonly ImageUsage[]
  /** Mounts, containers and commands that use images now, and what they have added: the upper layers of containers, their logs. */
  readonly users: Usage
  /** What unpacked copies of all images would take more than the objects do: file contents kept once. */
  readonly saved: number
  /** Disk space of blobs and layers that no image and no user needs. */
  readonly reclaimable: number
}

/** Reads every layer index, no file content. Throws as listImages. */
export function diskUsage(store: Store): DiskUsage {
  const blobs = usageOf(join(store.root, 'blobs/sha256'))
  const layers = usageOf(join(store.root, 'layers'))
  const chains = usageOf(join(store.root, 'chains'))
  const objects = { count: 0, disk: 0 }
  const top = join(store.objects, RESERVED)
  for (const prefix of readdirSync(top)) {
    const some = usageOf(join(top, prefix))
    objects.count += some.count
    objects.disk += some.disk
  }
  const images = listImages(store)
  const owners = new Map<string, { size: number; images: Set<Digest> }>()
  const sizes = new Map<Digest, number>()
  for (const image of images)
    for (const layer of image.layers)
      eachObject(store, store.layer(layer.diffID), (hex, size) => {
        sizes.set(image.digest, (sizes.get(image.digest) ?? 0) + size)
        const known = owners.get(hex)
        if (known === undefined) owners.set(hex, { size, images: new Set([image.digest]) })
        else known.images.add(image.digest)
      })
  const shared = new Map<Digest, number>()
  const unique = new Map<Digest, number>()
  let once = 0
  for (const { size, images: of } of owners.values()) {
    once += size
    const [first] = of
    const into = of.size > 1 ? shared : unique
    for (const digest of of.size > 1 ? of : [first as Digest]) into.set(digest, (into.get(digest) ?? 0) + size)
  }
  const pins = livePins(store)
  const stood = new Set(images.flatMap(image => pins.filter(p => uses(p, image))))
  const total = [...sizes.values()].reduce((a, b) => a + b, 0)
  return {
    blobs,
    objects,
    indexes: { count: layers.count + chains.count, disk: layers.disk + chains.disk },
    images: images.map(image => ({
      image,
      size: sizes.get(image.digest) ?? 0,
      shared: shared.get(image.digest) ?? 0,
      unique: unique.get(image.digest) ?? 0,
      users: pins.filter(p => uses(p, image)).length,
    })),
    users: { count: stood.size, disk: diskBelow(join(store.root, 'containers')) },
    saved: total - once,
    reclaimable: reclaimable(store, owners),
  }
}

function usageOf(dir: string): { count: number; disk: number } {
  let disk = 0
  const names = readdirSync(dir)
  for (const name of names) disk += (statSync(join(dir, name), { throwIfNoEntry: false })?.blocks ?? 0) * 512
  return { count: names.length, disk }
}

/** Allocated bytes of a tree, mounts in it left out. What goes away meanwhile counts nothing. */
function diskBelow(top: string): number {
  let disk = 0
  const device = lstatSync(top, { throwIfNoEntry: false })?.dev
  const walk = [Buffer.from(top)]
  for (let dir = walk.pop(); dir !== undefined; dir = walk.pop()) {
    let entries: Dirent<Buffer>[]
    try {
      entries = readdirSync(dir, { withFileTypes: true, encoding: 'buffer' })
    } catch {
      continue
    }
    for (const entry of entries) {
      const path = Buffer.concat([dir, slash, entry.name])
      const st = lstatSync(path, { throwIfNoEntry: false })
      if (st === undefined || st.dev !== device) continue
      // A file of several names counts once, by share.
      disk += (st.blocks * 512) / (entry.isDirectory() ? 1 : st.nlink)
      if (entry.isDirectory()) walk.push(path)
    }
  }
  return Math.round(disk)
}

const slash = Buffer.from('/')

function reclaimable(store: Store, owners: ReadonlyMap<string, unknown>): number {
  const keep = reachable(store)
  let bytes = 0
  const add = (path: string): void => void (bytes += (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512)
  for (const hex of readdirSync(join(store.root, 'blobs/sha256')))
    if (!keep.blobs.has(`sha256:${hex}` as Digest)) add(join(store.root, 'blobs/sha256', hex))
  const kept = new Set(owners.keys())
  for (const diffID of keep.layers) {
    try {
      eachObject(store, store.layer(diffID), hex => kept.add(hex))
    } catch {
      // A pin may outlive its layer (fsck tells); it then keeps nothing.
    }
  }
  const top = join(store.objects, RESERVED)
  for (const prefix of readdirSync(top))
    for (const rest of readdirSync(join(top, prefix))) if (!kept.has(prefix + rest)) add(join(top, prefix, rest))
  return bytes
}
