/**
 * Owns the seam to whatever keeps layers and images: `BuildStore`. The image store fulfils it (image-store.ts); tests
 * with one in memory.
 * Formats: layers are listed **base first** and named by their diffID; `ImageConfig` is the OCI image config as JSON.
 * Invariant: a layer that a method has returned stays until the build's lease is given back (`close`).
 */
import type { Digest, DiffID } from '../digest.js'
import type { Layer } from '../layer/layer.js'
import type { TreeInode } from '../layer/tree.js'

/** image-spec, config.md; the `config` object with Docker's additions (Healthcheck, OnBuild, Shell). */
export interface ContainerConfig {
  User?: string
  ExposedPorts?: Record<string, object>
  Env?: string[]
  Entrypoint?: string[] | null
  Cmd?: string[] | null
  Volumes?: Record<string, object>
  WorkingDir?: string
  Labels?: Record<string, string>
  StopSignal?: string
  Healthcheck?: {
    Test?: string[]
    Interval?: number
    Timeout?: number
    StartPeriod?: number
    StartInterval?: number
    Retries?: number
  }
  OnBuild?: string[]
  Shell?: string[]
}

export interface HistoryEntry {
  created?: string
  created_by?: string
  author?: string
  comment?: string
  empty_layer?: boolean
}

export interface ImageConfig {
  created?: string
  author?: string
  architecture: string
  variant?: string
  os: string
  config?: ContainerConfig
  rootfs: { type: 'layers'; diff_ids: DiffID[] }
  history?: HistoryEntry[]
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

export interface BaseImage {
  /** The reference in full, for messages. */
  readonly name: string
  readonly digest: Digest
  readonly config: ImageConfig
  readonly layers: readonly DiffID[]
}

/** Where file contents go before a layer names them. */
export interface ObjectSink {
  hasObject(hex: string): boolean
  /** Stores all that `fd` holds and closes it; returns its sha256 (64 hex digits). `known`: what the caller expects. */
  putFile(fd: number, size: number, known?: string): string
  putBytes(bytes: Uint8Array): string
}

export interface StoredLayer {
  readonly diffID: DiffID
  /** Bytes of the files in it. */
  readonly size: number
}

export interface BuildStore extends ObjectSink {
  /** Directory for scratch on the store's own filesystem: uppers, work directories. */
  readonly scratch: string
  /** Directory where the build keeps what it knows between builds. */
  readonly state: string

  /** The image for a platform; fetched when it is not there, or always asked for with `pull`. */
  base(reference: string, platform: Platform, pull: boolean): Promise<BaseImage>
  hasLayer(diffID: DiffID): boolean
  /** One read-only tree per call; the caller closes it. Throws when a layer is not there. */
  openLayers(layers: readonly DiffID[]): Layer[]
  openObject(hex: string): number

  /** Makes a layer of a tree in memory whose files are objects already. */
  addTree(root: TreeInode): Promise<StoredLayer>
  /**
   * Makes a layer of the upper directory in overlayfs form that is in `directory` (`upper`, with `work` beside it), on top
   * of `below`. `clamp`: times later than this (seconds) become this.
   */
  addUpper(directory: string, below: readonly DiffID[], clamp: number | undefined): Promise<StoredLayer>
  /** An archive (tar, plain or compressed) as a tree whose files are objects. */
  readArchive(source: AsyncIterable<Uint8Array>): Promise<TreeInode>

  /** Writes config and manifest, and points `names` at them. Returns the digest of the manifest and of the config. */
  addImage(
    config: ImageConfig,
    names: readonly string[],
    annotations?: Readonly<Record<string, string>>,
  ): Promise<{ manifest: Digest; config: Digest }>
  /** Keeps a layer of the cache from a gc although no image has it. */
  keep(key: string, layer: DiffID): Promise<void>
  /** Gives the lease back. */
  close(): void
}
