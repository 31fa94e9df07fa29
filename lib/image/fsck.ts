/**
 * Owns checking a store: every document, blob, index and object against its name, and every reference against what is
 * there. `repair` makes again what can be made (indexes and objects from blobs, chains from layers) and takes away names
 * of images that cannot be had any more.
 * Invariant: without `repair` nothing is written. Objects and blobs that nothing refers to are no problem: gc's business.
 */
import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type ChainID, chainOf, chainsOf, type DiffID, type Digest, digestOf } from '../digest.js'
import { EMPTY_SHA256, RESERVED } from '../layer/erofs-format.js'
import { verifyIndex } from '../layer/index-bytes.js'
import { remakeChain } from './chain.js'
import { eachObject } from './gc.js'
import { importLayer } from './import-layer.js'
import { layerRecord } from './layer-record.js'
import { readDocument } from './images.js'
import { nameOfDescriptor, readDescriptors, updateDescriptors } from './index-json.js'
import { chunksOf } from './layer-source.js'
import { readConfig, readManifest } from './manifest.js'
import { type Store, writeAtomic } from './store.js'

export interface Problem {
  readonly kind: 'index' | 'blob' | 'layer' | 'chain' | 'object' | 'image'
  /** Digest, diffID, chain ID or name. */
  readonly subject: string
  readonly cause: string
  readonly repaired: boolean
}

export interface FsckReport {
  readonly problems: readonly Problem[]
  readonly checked: {
    readonly images: number
    readonly blobs: number
    readonly layers: number
    readonly objects: number
  }
}

/** Checks the whole store, reading all of it. Throws only when the store cannot be locked or listed. */
export async function fsck(store: Store, options: { repair?: boolean } = {}): Promise<FsckReport> {
  const lock = await store.lock(options.repair === true ? 'exclusive' : 'shared')
  try {
    return await new Check(store, options.repair === true).run()
  } finally {
    lock.release()
  }
}

class Check {
  readonly #store: Store
  readonly #repair: boolean
  readonly #problems: Problem[] = []
  readonly #badBlobs = new Set<Digest>()
  #objects = 0

  constructor(store: Store, repair: boolean) {
    this.#store = store
    this.#repair = repair
  }

  async run(): Promise<FsckReport> {
    const blobs = this.#blobs()
    const badObjects = this.#contents()
    const images = await this.#images(badObjects)
    const layers = readdirSync(join(this.#store.root, 'layers')).length
    return { problems: this.#problems, checked: { images, blobs, layers, objects: this.#objects } }
  }

  #found(kind: Problem['kind'], subject: string, cause: string, repaired = false): void {
    this.#problems.push({ kind, subject, cause, repaired })
  }

  #blobs(): number {
    const dir = join(this.#store.root, 'blobs/sha256')
    const names = readdirSync(dir)
    for (const hex of names) {
      if (hashFile(join(dir, hex)) === hex) continue
      this.#badBlobs.add(digestOf(hex))
      if (this.#repair) rmSync(join(dir, hex), { force: true })
      this.#found('blob', digestOf(hex), 'content does not match its digest', false)
    }
    return names.length
  }

  /** Objects whose content is not what their name says; removed by repair, to be made again from blobs. */
  #contents(): Set<string> {
    const bad = new Set<string>()
    const top = join(this.#store.objects, RESERVED)
    for (const prefix of readdirSync(top))
      for (const rest of readdirSync(join(top, prefix))) {
        this.#objects++
        const hex = prefix + rest
        if (hashFile(join(top, prefix, rest)) === hex) continue
        bad.add(hex)
        if (this.#repair) rmSync(join(top, prefix, rest), { force: true })
      }
    if (!existsSync(this.#store.object(EMPTY_SHA256))) {
      if (this.#repair) writeAtomic(this.#store.object(EMPTY_SHA256), '', this.#store.tmp, 0o444)
      this.#found('object', EMPTY_SHA256, 'the empty object is missing', this.#repair)
    }
    return bad
  }

  async #images(badObjects: Set<string>): Promise<number> {
    let descriptors
    try {
      descriptors = readDescriptors(this.#store)
    } catch (error) {
      this.#found('index', 'index.json', (error as Error).message)
      return 0
    }
    const lost = new Set<Digest>()
    const layers = new Map<DiffID, Digest>()
    const chains = new Map<ChainID, readonly DiffID[]>()
    for (const d of new Map(descriptors.map(d => [d.digest, d])).values()) {
      const name = nameOfDescriptor(d) ?? d.digest
      try {
        const manifest = readDocument(this.#store, d.digest, readManifest)
        const diffIDs = readDocument(this.#store, manifest.config.digest, readConfig).rootfs.diff_ids
        if (diffIDs.length !== manifest.layers.length) throw new Error('layers and diffIDs differ in number')
        manifest.layers.forEach((l, i) => {
          const size = this.#store.blobSize(l.digest)
          if (size === undefined || this.#badBlobs.has(l.digest))
            throw new Error(`layer blob ${l.digest} is missing or damaged`)
          if (size !== l.size) throw new Error(`layer blob ${l.digest} has ${size} bytes, not ${l.size}`)
          layers.set(diffIDs[i] as DiffID, l.digest)
        })
        const chain = chainOf(diffIDs)
        if (chain !== undefined) chains.set(chain, diffIDs)
      } catch (error) {
        lost.add(d.digest)
        this.#found('image', name, (error as Error).message, this.#repair)
      }
    }
    if (this.#repair && lost.size > 0) await updateDescriptors(this.#store, now => now.filter(d => !lost.has(d.digest)))
    const damaged = new Set<string>()
    for (const [diffID, digest] of layers) await this.#layer(diffID, digest, badObjects, damaged)
    for (const [chain, diffIDs] of chains) this.#chain(chain, diffIDs)
    return new Set(descriptors.map(d => d.digest)).size
  }

  async #layer(diffID: DiffID, digest: Digest, badObjects: Set<string>, damaged: Set<string>): Promise<void> {
    const path = this.#store.layer(diffID)
    const cause = indexProblem(path)
    const bad: string[] = []
    if (cause === undefined)
      eachObject(this.#store, path, hex => {
        if (badObjects.has(hex) || damaged.has(hex) || !existsSync(this.#store.object(hex))) bad.push(hex)
      })
    if (cause === undefined && bad.length === 0) {
      if (layerRecord(this.#store, digest) === undefined)
        this.#found('layer', diffID, 'its record is missing', await this.#remake(diffID, digest))
      return
    }
    const repaired = await this.#remake(diffID, digest)
    if (cause !== undefined) this.#found('layer', diffID, cause, repaired)
    for (const hex of new Set(bad)) {
      if (!repaired) damaged.add(hex)
      const what = badObjects.has(hex) ? 'content does not match its name' : 'is missing'
      this.#found('object', hex, `${what} (in layer ${diffID.slice(0, 19)})`, repaired)
      if (repaired) badObjects.delete(hex)
    }
  }

  /** Reads the layer's blob again: that gives its index and every object of it. */
  async #remake(diffID: DiffID, digest: Digest): Promise<boolean> {
    if (!this.#repair) return false
    const session = this.#store.session()
    try {
      const path = this.#store.blob(digest)
      const source = chunksOf({ kind: 'file', path, offset: 0, size: this.#store.blobSize(digest) ?? 0 })
      await importLayer(this.#store, session.path, source, { digest, diffID }, { keepBlob: false })
      return true
    } catch {
      return false
    } finally {
      session.close()
    }
  }

  /** Caches: that one is not there is no problem. */
  #chain(chain: ChainID, diffIDs: readonly DiffID[]): void {
    const paths = [this.#store.chain(chain), ...chainsOf(diffIDs).map(c => this.#store.settled(c))]
    for (const path of paths) {
      const cause = existsSync(path) ? indexProblem(path) : undefined
      if (cause === undefined) continue
      let repaired = false
      if (this.#repair) {
        rmSync(path, { force: true })
        try {
          remakeChain(this.#store, this.#store.tmp, diffIDs)
          repaired = true
        } catch {
          repaired = false
        }
      }
      this.#found('chain', chain, cause, repaired)
    }
  }
}

function indexProblem(path: string): string | undefined {
  try {
    return verifyIndex(readFileSync(path))
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'index is missing' : (error as Error).message
  }
}

const buffer = Buffer.allocUnsafeSlow(1 << 20)

function hashFile(path: string): string {
  const hash = createHash('sha256')
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) hash.update(buffer.subarray(0, n))
  } finally {
    closeSync(fd)
  }
  return hash.digest('hex')
}
