/**
 * Owns the last step of an import: layers that wait complete in directories of a session get their names in the store.
 * However many they are, the disk is waited for twice: for what they are made of, then for the names.
 * Invariant: a name appears after its content is on disk, and a record after the names that it speaks of are.
 */
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { check, E, FsError } from '../errno.js'
import { O } from '../sys/constants.js'
import { close, open, syncfsInThread } from '../sys/file.js'
import type { LayerRecord } from './layer-record.js'
import { nameObjects } from './objects.js'
import { type Store, syncDirectory } from './store.js'

/** Names in a staged layer's directory. */
export const STAGED = { blob: 'blob', objects: 'objects', index: 'index', records: ['record', 'record-again'] } as const

/** A layer that was read, verified and written, but has no name in the store yet. */
export interface StagedLayer extends LayerRecord {
  readonly directory: string
  /** Whether its blob lies there too; else the store has it. */
  readonly keepBlob: boolean
  /** What of its files the store did not have. */
  readonly newObjects: number
  readonly newBytes: number
  /** xattrs that could not be kept (foreign namespaces), by name. */
  readonly droppedXattrs: Readonly<Record<string, number>>
}

/**
 * Makes the layers durable and gives them their names. Afterwards blobs, objects, indexes and records are in the store,
 * and their directories are used up. Other work of this thread goes on meanwhile. Throws FsError.
 */
export async function publishLayers(store: Store, layers: readonly StagedLayer[]): Promise<void> {
  if (layers.length === 0) return
  const fd = check(open(bytesOf(store.tmp), O.RDONLY | O.DIRECTORY), 'open', store.tmp)
  try {
    await sync(fd)
    for (const { directory, keepBlob, digest, diffID } of layers) {
      nameObjects(join(directory, STAGED.objects), store.objects)
      if (keepBlob) renameSync(join(directory, STAGED.blob), store.blob(digest))
      renameSync(join(directory, STAGED.index), store.layer(diffID))
    }
    await sync(fd)
    for (const { directory, digest, diffID } of layers)
      for (const [i, id] of [digest, diffID].entries())
        renameSync(join(directory, STAGED.records[i] as string), store.record(id))
    syncDirectory(join(store.root, 'records'))
  } finally {
    close(fd)
  }
}

async function sync(fd: number): Promise<void> {
  if ((await syncfsInThread(fd)) < 0) throw new FsError(-E.EIO, 'syncfs')
}
