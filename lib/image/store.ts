/**
 * Owns the store's place on disk: an OCI image layout (image-spec, image-layout.md) with Lamina's own beside it.
 *
 *     oci-layout index.json blobs/sha256/HEX      the OCI image layout: other tools read it as it is
 *     lamina.json                                 {"format": 1}; a newer format is refused
 *     objects/.lamina/AB/CDEF…                    one regular file's content by SHA-256, mode 0444, shared by all layers
 *     layers/HEX                                  index of one layer, by diffID
 *     chains/HEX                                  flattened index of a stack of layers, by chain ID: what is mounted
 *     chains/HEX.top                              index of its last layer, where that means something else there (chain.ts)
 *     records/HEX                                 what is known of a layer (import-layer.ts), by blob and by diffID
 *     pins/NAME                                   what running commands and containers use (pin.ts)
 *     tmp/NAME/                                   work of one command under a lock; swept when its process is gone
 *     lock, index.lock                            flock(2): whole store (shared / exclusive for gc), index.json
 *
 * Invariant: a name outside tmp/ points at complete, verified, synced content: everything is written under tmp/, synced,
 * then renamed; blobs, objects, layers, chains before index.json.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { type ChainID, type DiffID, type Digest, hexOf } from '../digest.js'
import { check, E, FsError } from '../errno.js'
import { EMPTY_SHA256, objectPath, RESERVED } from '../layer/erofs-format.js'
import { AT, O, RENAME } from '../sys/constants.js'
import { renameat2 } from '../sys/dir.js'
import { close, fsync, open, openat, pwriteAll } from '../sys/file.js'
import { ImageError } from './error.js'
import { acquire, type Lock, tryLock } from './lock.js'

export const STORE_FORMAT = 1

export class Store {
  readonly root: string
  readonly objects: string
  readonly tmp: string

  private constructor(root: string) {
    this.root = root
    this.objects = join(root, 'objects')
    this.tmp = join(root, 'tmp')
  }

  /**
   * Opens the store at `root` (absolute), making it when there is none. Sweeps what dead commands left in tmp/. Throws
   * ImageError STORE_VERSION for a newer format, STORE_DAMAGED for what is no store.
   */
  static open(root: string): Store {
    const store = new Store(root)
    const marker = store.#readMarker()
    if (marker === undefined) store.#create()
    else if (marker > STORE_FORMAT)
      throw new ImageError(
        'STORE_VERSION',
        `open store ${root}: format ${marker} is newer than this program's ${STORE_FORMAT}`,
      )
    store.sweep()
    return store
  }

  /** The store at `root`, which this process or its parent has opened already. */
  static at(root: string): Store {
    return new Store(root)
  }

  blob(digest: Digest): string {
    return join(this.root, 'blobs/sha256', hexOf(digest))
  }
  layer(diffID: DiffID): string {
    return join(this.root, 'layers', hexOf(diffID))
  }
  chain(chain: ChainID): string {
    return join(this.root, 'chains', hexOf(chain))
  }
  settled(chain: ChainID): string {
    return `${this.chain(chain)}.top`
  }
  record(id: Digest | DiffID): string {
    return join(this.root, 'records', hexOf(id))
  }
  object(hex: string): string {
    return join(this.objects, objectPath(hex))
  }
  get indexFile(): string {
    return join(this.root, 'index.json')
  }

  /** Size of a blob that the store has, or undefined. */
  blobSize(digest: Digest): number | undefined {
    return statSync(this.blob(digest), { throwIfNoEntry: false })?.size
  }

  /** The store's lock: shared by everything that adds or reads, exclusive for what removes. */
  lock(mode: 'shared' | 'exclusive'): Promise<Lock> {
    return acquire(join(this.root, 'lock'), mode)
  }

  /** The lock around reading and replacing index.json. Held for moments; never waits for `lock`. */
  lockIndex(): Promise<Lock> {
    return acquire(join(this.root, 'index.lock'), 'exclusive')
  }

  /** A directory under tmp/ for one command. It is removed by `close`, or swept once this process is gone. */
  session(): Session {
    for (;;) {
      const name = `${process.pid}-${Math.random().toString(36).slice(2, 10)}`
      const path = join(this.tmp, name)
      mkdirSync(path, { mode: 0o700 })
      const lock = tryLock(path, 'exclusive', O.DIRECTORY)
      // A sweeper may have taken the unlocked directory between the two calls.
      if (lock !== undefined && statSync(path, { throwIfNoEntry: false }) !== undefined) return new Session(path, lock)
      lock?.release()
    }
  }

  /** Removes sessions whose process is gone. */
  sweep(): void {
    for (const name of readdirSync(this.tmp)) {
      const path = join(this.tmp, name)
      // A single file of writeAtomic: named after its process.
      const pid = /^\.(\d+)-/.exec(name)?.[1]
      if (pid !== undefined) {
        if (!existsSync(`/proc/${pid}`)) rmSync(path, { force: true })
        continue
      }
      const lock = tryLock(path, 'exclusive', O.DIRECTORY)
      if (lock === undefined) continue
      rmSync(path, { recursive: true, force: true })
      lock.release()
    }
  }

  #readMarker(): number | undefined {
    const path = join(this.root, 'lamina.json')
    let text: string
    try {
      text = readFileSync(path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
    let format: unknown
    try {
      format = (JSON.parse(text) as { format?: unknown }).format
    } catch {
      format = undefined
    }
    if (typeof format !== 'number')
      throw new ImageError('STORE_DAMAGED', `open store ${this.root}: lamina.json is damaged`)
    return format
  }

  #create(): void {
    mkdirSync(this.root, { recursive: true, mode: 0o700 })
    const here = readdirSync(this.root)
    if (here.length > 0 && !here.includes('oci-layout') && !here.some(name => ours.has(name)))
      throw new ImageError('STORE_DAMAGED', `open store ${this.root}: the directory is not empty and no store`)
    for (const dir of [
      'blobs/sha256',
      `objects/${RESERVED}`,
      'layers',
      'chains',
      'records',
      'pins',
      'tmp',
      'containers',
    ])
      mkdirSync(join(this.root, dir), { recursive: true, mode: 0o700 })
    for (let i = 0; i < 256; i++)
      mkdirSync(join(this.objects, RESERVED, i.toString(16).padStart(2, '0')), { recursive: true, mode: 0o700 })
    // Another process may be making the same store: its index is not to be replaced.
    writeAtomic(
      this.indexFile,
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}',
      this.tmp,
      0o600,
      false,
    )
    writeAtomic(join(this.root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}', this.tmp)
    writeAtomic(this.object(EMPTY_SHA256), '', this.tmp, 0o444)
    writeAtomic(join(this.root, 'lamina.json'), `{"format":${STORE_FORMAT}}\n`, this.tmp)
  }
}

const ours = new Set(['containers', 'objects', 'blobs', 'layers', 'tmp', 'lock'])

/** One command's directory under tmp/. */
export class Session {
  readonly path: string
  readonly #lock: Lock

  constructor(path: string, lock: Lock) {
    this.path = path
    this.#lock = lock
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
    this.#lock.release()
  }
}

let sequence = 0

/**
 * Writes a file so that its name shows either what was there before or all of `content`, after a crash too: temporary
 * file in `tmp` (same filesystem), fsync, rename, fsync of the directory. Without `replace` a file that is there stays.
 * Throws FsError.
 */
export function writeAtomic(
  path: string,
  content: string | Uint8Array,
  tmp: string,
  mode = 0o600,
  replace = true,
): void {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content
  const temporary = join(tmp, `.${process.pid}-${sequence++}-${Math.random().toString(36).slice(2, 8)}`)
  const fd = check(open(bytesOf(temporary), O.WRONLY | O.CREAT | O.EXCL, mode), 'open', temporary)
  try {
    check(pwriteAll(fd, bytes, 0), 'write', path)
    check(fsync(fd), 'fsync', path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  } finally {
    close(fd)
  }
  if (replace) moveInto(temporary, path)
  else {
    const r = renameat2(AT.FDCWD, bytesOf(temporary), AT.FDCWD, bytesOf(path), RENAME.NOREPLACE)
    rmSync(temporary, { force: true })
    if (r < 0 && r !== -E.EEXIST) throw new FsError(r, 'rename', path)
    syncDirectory(dirname(path))
  }
}

/** Renames a synced file to its place and makes the name durable. Throws FsError. */
export function moveInto(from: string, path: string): void {
  check(renameat2(AT.FDCWD, bytesOf(from), AT.FDCWD, bytesOf(path)), 'rename', path)
  syncDirectory(dirname(path))
}

/** fsync of a directory: its names survive a power loss. */
export function syncDirectory(path: string): void {
  const fd = openat(AT.FDCWD, bytesOf(path), O.RDONLY | O.DIRECTORY)
  if (fd < 0) throw new FsError(fd, 'open', path)
  const r = fsync(fd)
  close(fd)
  if (r < 0 && r !== -E.EINVAL) throw new FsError(r, 'fsync', path)
}
