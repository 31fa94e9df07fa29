/**
 * Owns pins/: what running commands and containers use, so that nothing removes it under them.
 * Format: one JSON file per pin with image, layers and chains, and either a process (id, start time, boot) or none, for
 * what outlives processes (a container, a build cache) and is unpinned explicitly.
 * Invariant: a pin is written under the shared store lock, so that gc (exclusive) sees it or has not begun.
 */
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ChainID, chainOf, type DiffID, type Digest, isDigest } from '../digest.js'
import { ImageError } from './error.js'
import type { StoredImage } from './images.js'
import { type Store, writeAtomic } from './store.js'

interface PinFile {
  readonly owner: string
  /** Manifest digests, or image IDs. */
  readonly images: readonly Digest[]
  readonly layers: readonly DiffID[]
  readonly chains: readonly ChainID[]
  readonly process: { readonly pid: number; readonly start: string; readonly boot: string } | null
}

export interface Pin {
  readonly name: string
  /** Gives the pin up; what it kept may go with the next gc. Idempotent. */
  release(): void
}

export interface PinOptions {
  /** Process the pin lives with; default this one. `null`: until `unpin(name)`. */
  readonly pid?: number | null
  /** Name of the pin file; default made from the process. Letters, digits, `.`, `_`, `-`. A pin of that name is replaced. */
  readonly name?: string
}

let sequence = 0

/** Keeps an image (documents, layers, chain) from gc, rmi and prune. `owner` is shown to who wants it removed. */
export function pinImage(store: Store, image: StoredImage, owner: string, options: PinOptions = {}): Promise<Pin> {
  return pin(
    store,
    owner,
    [image.digest],
    image.layers.map(l => l.diffID),
    options,
  )
}

/** The same for layers that are no image (yet): a build's cache, a container's base. Base first; their chain is kept too. */
export function pinLayers(
  store: Store,
  layers: readonly DiffID[],
  owner: string,
  options: PinOptions = {},
): Promise<Pin> {
  return pin(store, owner, [], layers, options)
}

async function pin(
  store: Store,
  owner: string,
  images: readonly Digest[],
  layers: readonly DiffID[],
  options: PinOptions,
): Promise<Pin> {
  const pid = options.pid === undefined ? process.pid : options.pid
  const name = options.name ?? `${pid ?? 'p'}-${process.pid}-${sequence++}`
  if (!/^[\w.-]+$/.test(name)) throw new RangeError(`pin name ${name}`)
  const chain = chainOf(layers)
  const content: PinFile = {
    owner,
    images,
    layers,
    chains: chain === undefined ? [] : [chain],
    process: pid === null ? null : { pid, start: startTime(pid) ?? '', boot: bootID() },
  }
  const lock = await store.lock('shared')
  try {
    writePin(store, name, JSON.stringify(content), pid === null)
  } finally {
    lock.release()
  }
  return { name, release: () => unpin(store, name) }
}

/** A process's pin need not survive a power loss, so it does not wait for the disk. */
function writePin(store: Store, name: string, text: string, durable: boolean): void {
  const path = join(store.root, 'pins', name)
  if (durable) return writeAtomic(path, text, store.tmp)
  const temporary = join(store.tmp, `.${process.pid}-pin-${name}`)
  writeFileSync(temporary, text, { mode: 0o600 })
  renameSync(temporary, path)
}

/** Removes a pin by name; nothing happens when there is none. */
export function unpin(store: Store, name: string): void {
  rmSync(join(store.root, 'pins', name), { force: true })
}

/** All pins that hold, and the containers, which say in their container.json what they stand on. */
export function livePins(store: Store): (PinFile & { readonly name: string })[] {
  const pins: (PinFile & { name: string })[] = []
  for (const name of readdirSync(join(store.root, 'pins'))) {
    const content = readJson(join(store.root, 'pins', name)) as PinFile | undefined
    if (content === undefined) continue
    const p = content.process
    if (p !== null && (p.boot !== bootID() || startTime(p.pid) !== p.start)) unpin(store, name)
    else pins.push({ ...content, name })
  }
  for (const id of namesIn(join(store.root, 'containers'))) {
    const config = readJson(join(store.root, 'containers', id, 'container.json')) as ContainerFile | undefined
    const root = config?.root
    if (root?.kind !== 'image' || !isDigest(root.id) || !Array.isArray(root.layers)) continue
    const layers = root.layers as DiffID[]
    const chain = chainOf(layers)
    pins.push({
      name: id,
      owner: `container ${typeof config?.name === 'string' ? config.name : id.slice(0, 12)}`,
      images: [root.id],
      layers,
      chains: chain === undefined ? [] : [chain],
      process: null,
    })
  }
  return pins
}

/** What this file reads of a container's configuration (lib/runtime/config.ts writes it). */
interface ContainerFile {
  readonly name?: unknown
  readonly root?: { readonly kind?: unknown; readonly id?: unknown; readonly layers?: unknown }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/** undefined when the file went away meanwhile, or is no container's. Throws when it is damaged: nothing is removed then. */
function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw new ImageError('STORE_DAMAGED', `read ${path}: ${(error as Error).message}`, { path }, error)
  }
}

let boot: string | undefined

function bootID(): string {
  return (boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
}

/** Start time of a process in clock ticks since boot (proc(5), stat field 22): tells a reused pid. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}
