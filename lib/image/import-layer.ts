/**
 * Owns blob -> layer in one streaming pass: the bytes are hashed and written as they came (blob), inflated, hashed again
 * (diffID), read as a tar, file contents go to objects, and what remains becomes the layer's index.
 * Invariant: no name in the store points at any of it before digest, size and diffID have been found right.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { type DiffID, type Digest, digestOf, isDigest } from '../digest.js'
import { check } from '../errno.js'
import { writeIndex } from '../layer/erofs-write.js'
import { DEFAULT_LIMITS, type IngestLimits, LayerIngest } from '../layer/tar-ingest.js'
import { readTar } from '../layer/tar-read.js'
import { O } from '../sys/constants.js'
import { close, fdatasync, open, pwriteAll, startWriteback } from '../sys/file.js'
import { ImageError } from './error.js'
import { type Compression, inflate } from './inflate.js'
import { ObjectSink } from './objects.js'
import { type Store, syncDirectory, writeAtomic } from './store.js'

export interface LayerExpectation {
  readonly digest?: Digest
  readonly size?: number
  readonly diffID?: DiffID
}

export interface ImportedLayer {
  readonly digest: Digest
  readonly diffID: DiffID
  readonly size: number
  readonly compression: Compression
  /** Entries of the tar, bytes of its files, and what of them the store did not have. */
  readonly entries: number
  readonly bytes: number
  readonly newObjects: number
  readonly newBytes: number
  /** xattrs that could not be kept (foreign namespaces), by name. */
  readonly droppedXattrs: Readonly<Record<string, number>>
}

export interface ImportOptions {
  readonly limits?: IngestLimits
  /** Keep the bytes as a blob (default). False: they are there already, only the index and objects are wanted. */
  readonly keepBlob?: boolean
  /** Called now and then with the blob's bytes read so far. */
  readonly progress?: (bytes: number) => void
}

const PROGRESS_STEP = 1 << 20
const WRITEBACK_STEP = 8 << 20

/**
 * Imports one layer from `source` into the store. `directory` is a directory of this import alone inside a session of
 * the store. Afterwards blob, objects and layer index are in place and synced. Importing the same again changes nothing.
 * Throws ImageError (DIGEST_MISMATCH, SIZE_MISMATCH, DIFFID_MISMATCH, BLOB_CORRUPT, LAYER_TOO_LARGE), TarError, FsError.
 */
export async function importLayer(
  store: Store,
  directory: string,
  source: AsyncIterable<Buffer>,
  expect: LayerExpectation = {},
  options: ImportOptions = {},
): Promise<ImportedLayer> {
  const { limits = DEFAULT_LIMITS, keepBlob = true } = options
  const blob = keepBlob ? new BlobWriter(join(directory, 'blob')) : new BlobWriter(undefined)
  const objects = new ObjectSink(store.objects, directory)
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
    const index = writeIndex(ingest.finish())
    objects.commit()
    if (keepBlob) {
      // The syncfs in commit() has it on disk already, unless there was no new object.
      if (objects.added === 0) blob.sync()
      renameSync(join(directory, 'blob'), store.blob(digest))
      syncDirectory(join(store.root, 'blobs/sha256'))
    }
    writeAtomic(store.layer(diffID), index, directory)
    recordLayer(store, directory, {
      digest,
      size: blob.size,
      diffID,
      tarBytes: inflated,
      bytes: ingest.bytes,
      entries: ingest.entries,
      compression,
    })
    return {
      digest,
      diffID,
      size: blob.size,
      compression,
      entries: ingest.entries,
      bytes: ingest.bytes,
      newObjects: objects.added,
      newBytes: objects.addedBytes,
      droppedXattrs: Object.fromEntries(ingest.droppedXattrs),
    }
  } finally {
    objects.close()
    blob.close()
  }
}

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

/** Hashes a blob and, given a path, writes it. */
export class BlobWriter {
  readonly #hash = createHash('sha256')
  readonly #path: string | undefined
  #fd = -1
  #writeback = 0
  size = 0

  constructor(path: string | undefined) {
    this.#path = path
    if (path !== undefined) this.#fd = check(open(bytesOf(path), O.WRONLY | O.CREAT | O.EXCL, 0o600), 'open', path)
  }

  write(chunk: Buffer): void {
    this.#hash.update(chunk)
    if (this.#fd >= 0) check(pwriteAll(this.#fd, chunk, this.size), 'write', this.#path)
    this.size += chunk.length
    if (this.#fd >= 0 && this.size - this.#writeback >= WRITEBACK_STEP) {
      startWriteback(this.#fd, this.#writeback, this.size - this.#writeback)
      this.#writeback = this.size
    }
  }

  finish(): Digest {
    return digestOf(this.#hash.digest())
  }

  sync(): void {
    if (this.#fd >= 0) check(fdatasync(this.#fd), 'fsync', this.#path)
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd)
    this.#fd = -1
  }
}
