/**
 * Owns blob -> layer in one streaming pass: the bytes are hashed and written as they came (blob), inflated, hashed again
 * (diffID), read as a tar, file contents go to objects, and what remains becomes the layer's index. All of that waits in a
 * directory of its own (`stageLayer`) until it gets its names (publish.ts).
 * Invariant: nothing is staged as a layer before digest, size and diffID have been found right.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DiffID, type Digest, digestOf } from '../digest.js'
import { writeIndex } from '../layer/erofs-write.js'
import { DEFAULT_LIMITS, type IngestLimits, LayerIngest } from '../layer/tar-ingest.js'
import { readTar } from '../layer/tar-read.js'
import { BlobWriter } from './blob-writer.js'
import { ImageError } from './error.js'
import { type Compression, inflate } from './inflate.js'
import type { LayerRecord } from './layer-record.js'
import { ObjectSink } from './objects.js'
import { publishLayers, STAGED, type StagedLayer } from './publish.js'
import type { Store } from './store.js'

export interface LayerExpectation {
  readonly digest?: Digest
  readonly size?: number
  readonly diffID?: DiffID
}

export interface ImportOptions {
  readonly limits?: IngestLimits
  /** Keep the bytes as a blob (default). False: they are there already, only the index and objects are wanted. */
  readonly keepBlob?: boolean
  /** Called now and then with the blob's bytes read so far. */
  readonly progress?: (bytes: number) => void
}

const PROGRESS_STEP = 1 << 20

/** Imports one layer: stages it, and gives it its names. Importing the same again changes nothing. Throws as stageLayer. */
export async function importLayer(
  store: Store,
  directory: string,
  source: AsyncIterable<Buffer>,
  expect: LayerExpectation = {},
  options: ImportOptions = {},
): Promise<StagedLayer> {
  const staged = await stageLayer(store, directory, source, expect, options)
  await publishLayers(store, [staged])
  return staged
}

/**
 * Reads one layer from `source` into `directory`, which is there for this import alone inside a session of the store, and
 * leaves there all that is new of it. Nothing is synced and nothing in the store has changed. Throws ImageError
 * (DIGEST_MISMATCH, SIZE_MISMATCH, DIFFID_MISMATCH, BLOB_CORRUPT, LAYER_TOO_LARGE), TarError, FsError.
 */
export async function stageLayer(
  store: Store,
  directory: string,
  source: AsyncIterable<Buffer>,
  expect: LayerExpectation = {},
  options: ImportOptions = {},
): Promise<StagedLayer> {
  const { limits = DEFAULT_LIMITS, keepBlob = true } = options
  const blob = new BlobWriter(keepBlob ? join(directory, STAGED.blob) : undefined)
  const staging = join(directory, STAGED.objects)
  mkdirSync(staging, { mode: 0o700 })
  const objects = new ObjectSink(store.objects, staging)
  const ingest = new LayerIngest(objects, limits)
  const diff = createHash('sha256')
  let compression: Compression = 'none'
  let inflated = 0
  try {
    const received = countBytes(source, blob, expect.size, options.progress)
    const tar = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of inflate(received, kind => (compression = kind))) {
        inflated += chunk.length
        if (inflated > limits.bytes)
          throw new ImageError('LAYER_TOO_LARGE', `import layer: it inflates to more than ${limits.bytes} bytes`)
        diff.update(chunk)
        yield chunk
      }
    }
    await readTar(tar(), ingest)
    const digest = blob.finish()
    const diffID = digestOf(diff.digest()) as string as DiffID
    if (expect.size !== undefined && blob.size !== expect.size)
      throw new ImageError('SIZE_MISMATCH', `import layer: ${blob.size} bytes came, ${expect.size} were announced`, {
        ...expect,
      })
    if (expect.digest !== undefined && digest !== expect.digest)
      throw new ImageError('DIGEST_MISMATCH', `import layer ${expect.digest}: its content has ${digest}`, {
        ...expect,
        digest,
      })
    if (expect.diffID !== undefined && diffID !== expect.diffID)
      throw new ImageError(
        'DIFFID_MISMATCH',
        `import layer ${digest}: it unpacks to ${diffID}, its image says ${expect.diffID}`,
        {
          ...expect,
          diffID,
        },
      )
    writeFileSync(join(directory, STAGED.index), writeIndex(ingest.finish()), { mode: 0o600 })
    const record: LayerRecord = {
      digest,
      size: blob.size,
      diffID,
      tarBytes: inflated,
      bytes: ingest.bytes,
      entries: ingest.entries,
      compression,
    }
    for (const name of STAGED.records) writeFileSync(join(directory, name), JSON.stringify(record), { mode: 0o600 })
    return {
      ...record,
      directory,
      keepBlob,
      newObjects: objects.added,
      newBytes: objects.addedBytes,
      droppedXattrs: Object.fromEntries(ingest.droppedXattrs),
    }
  } finally {
    objects.close()
    blob.close()
  }
}

async function* countBytes(
  source: AsyncIterable<Buffer>,
  blob: BlobWriter,
  size: number | undefined,
  progress: ((bytes: number) => void) | undefined,
): AsyncGenerator<Buffer> {
  let told = 0
  for await (const chunk of source) {
    blob.write(chunk)
    if (size !== undefined && blob.size > size)
      throw new ImageError('SIZE_MISMATCH', `import layer: more bytes came than the ${size} announced`, { size })
    if (progress !== undefined && blob.size - told >= PROGRESS_STEP) {
      told = blob.size
      progress(told)
    }
    yield chunk
  }
  progress?.(blob.size)
}
