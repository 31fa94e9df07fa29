/**
 * Owns records/: what an import or a build found out of a layer, so that nobody has to read it again to know.
 * Invariant: a record is believed only as long as the blob and the index that it speaks of are there.
 */
import { existsSync, readFileSync } from 'node:fs'
import { type DiffID, type Digest, isDigest } from '../digest.js'
import type { Compression } from './inflate.js'
import { type Store, writeAtomic } from './store.js'

/** What is known of a layer that was imported or made here. */
export interface LayerRecord {
  readonly digest: Digest
  /** Bytes of the blob. */
  readonly size: number
  readonly compression: Compression
  readonly diffID: DiffID
  /** Bytes of the uncompressed tar, and of the files in it. */
  readonly tarBytes: number
  readonly bytes: number
  readonly entries: number
}

/** Files it under blob and diffID. Of several blobs of one layer the last is the one that its diffID leads to. */
export function recordLayer(store: Store, tmp: string, record: LayerRecord): void {
  const text = JSON.stringify(record)
  writeAtomic(store.record(record.digest), text, tmp)
  writeAtomic(store.record(record.diffID), text, tmp)
}

/** What an import of this blob, or of any blob of this layer, found; if the store still has blob and index. */
export function layerRecord(store: Store, id: Digest | DiffID): LayerRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(store.record(id), 'utf8')) as LayerRecord
    return isDigest(record.diffID) && isDigest(record.digest) && hasFile(store, record) ? record : undefined
  } catch {
    return undefined
  }
}

function hasFile(store: Store, record: LayerRecord): boolean {
  return store.blobSize(record.digest) === record.size && existsSync(store.layer(record.diffID))
}
