/**
 * Owns root filesystem tar -> image (`lamina import`) and the way back, a tree -> tar (`lamina export`).
 * Invariant: the tar that comes in is kept byte for byte (without bzip2 or xz around it, which layers cannot have) as the image's one layer.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf } from '../bytes.js'
import { MergedTree } from '../diff/merged.js'
import { eachLayerEntry } from '../diff/layer-entries.js'
import { check } from '../errno.js'
import { applyLayer, flatten } from '../layer/flatten.js'
import { openIndex } from '../layer/indexed.js'
import type { Layer } from '../layer/layer.js'
import { layerEntries, type TarSource, writeTar } from '../layer/tar-write.js'
import { TreeInode } from '../layer/tree.js'
import { O, S } from '../sys/constants.js'
import { close, open, pread } from '../sys/file.js'
import { applyChanges } from './config-change.js'
import { ensureChain } from './chain.js'
import { withoutForeign } from './decompress.js'
import { importLayer } from './import-layer.js'
import { addImage, type StoredImage } from './images.js'
import { hostPlatform, MEDIA } from './manifest.js'
import { parsePlatform } from './platform.js'
import { formatReference, parseReference } from './reference.js'
import type { Store } from './store.js'

export interface ImportRootfsOptions {
  readonly name?: string | undefined
  readonly message?: string | undefined
  readonly changes?: readonly string[]
  readonly platform?: string | undefined
  readonly progress?: (bytes: number) => void
}

/** Makes an image of one layer from a root filesystem tar (plain, gzip, zstd, bzip2, xz). Throws ImageError, TarError, FsError. */
export async function importRootfs(
  store: Store,
  source: AsyncIterable<Buffer>,
  options: ImportRootfsOptions = {},
): Promise<StoredImage> {
  const names = options.name === undefined ? [] : [formatReference(parseReference(options.name))]
  const config = applyChanges({}, options.changes ?? [])
  const lock = await store.lock('shared')
  const session = store.session()
  try {
    const directory = join(session.path, 'layer')
    mkdirSync(directory)
    const layer = await importLayer(
      store,
      directory,
      // Layers cannot be bzip2 or xz: what is inside is kept instead.
      withoutForeign(source),
      {},
      options.progress ? { progress: options.progress } : {},
    )
    const created = new Date().toISOString()
    const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform)
    const document = {
      created,
      ...platform,
      config,
      rootfs: { type: 'layers', diff_ids: [layer.diffID] },
      history: [{ created, comment: options.message ?? 'Imported from -' }],
    }
    const types = { gzip: MEDIA.ociLayerGzip, zstd: MEDIA.ociLayerZstd, none: MEDIA.ociLayer }
    return await addImage(
      store,
      session,
      {
        config: Buffer.from(JSON.stringify(document)),
        layers: [{ digest: layer.digest, size: layer.size, mediaType: types[layer.compression] }],
      },
      names,
    )
  } finally {
    session.close()
    lock.release()
  }
}

/** The flattened root filesystem of an image as a tar. Throws ImageError, FlattenError, FsError. */
export async function* exportImage(store: Store, image: StoredImage): AsyncGenerator<Buffer> {
  const lock = await store.lock('shared')
  try {
    const path = ensureChain(
      store,
      store.tmp,
      image.layers.map(l => l.diffID),
    )
    const index = openIndex(bytesOf(path), bytesOf(store.objects), { whole: true })
    const root = flatten([])
    try {
      applyLayer(root, index)
    } finally {
      index.close()
    }
    // flatten gives no link counts; 0 makes every file a candidate for a hard link.
    yield* writeTar(layerEntries(root, hex => fileChunks(() => open(bytesOf(store.object(hex)), O.RDONLY), hex)))
  } finally {
    lock.release()
  }
}

/** What `layers` (topmost first) show together, as a tar: a container's filesystem. Sockets are left out. */
export async function* exportLayers(layers: readonly Layer[]): AsyncGenerator<Buffer> {
  const tree = new MergedTree(layers)
  const entries: (TarSource & { readonly path: string })[] = []
  eachLayerEntry(new MergedTree([]), tree, entry => {
    if (entry.type === 'whiteout') return
    const a = entry.attributes
    if ((a.mode & S.IFMT) === S.IFSOCK) return
    const name = entry.path === '/' ? './' : entry.path.slice(1)
    const inode = new TreeInode(a.mode)
    inode.uid = a.uid
    inode.gid = a.gid
    inode.mtime = a.mtime
    inode.mtimeNs = a.mtimeNs
    inode.rdev = a.rdev
    inode.size = (a.mode & S.IFMT) === S.IFREG ? a.size : 0
    if (entry.type === 'link') entries.push({ path: entry.path, name, inode, link: entry.target.slice(1) })
    else {
      inode.target = entry.target
      if (entry.xattrs.size > 0) inode.xattrs = new Map(entry.xattrs)
      entries.push({
        path: entry.path,
        name,
        inode,
        content: () => fileChunks(() => openPath(tree, entry.path), entry.path),
      })
    }
  })
  yield* writeTar(entries)
}

function openPath(tree: MergedTree, path: string): number {
  const entry = tree.resolve(path)
  if (entry === undefined) return -2
  try {
    return tree.open(entry)
  } finally {
    tree.release(entry)
  }
}

function* fileChunks(opened: () => number, what: string): Generator<Buffer> {
  const fd = check(opened(), 'open', what)
  try {
    for (let at = 0; ;) {
      const buffer = Buffer.allocUnsafeSlow(256 * 1024)
      const n = check(pread(fd, buffer, at), 'read', what)
      if (n === 0) return
      yield buffer.subarray(0, n)
      at += n
    }
  } finally {
    close(fd)
  }
}
