/**
 * Owns results of `lamina build` that are no named image of the store (`--output`): files in a directory, a tar of the root
 * filesystem, an OCI or Docker archive.
 * Invariant: a file is complete or not there.
 */
import { mkdirSync } from 'node:fs'
import type { BuildResult } from '../build/build.js'
import { BuildError } from '../build/error.js'
import type { ImageStore } from '../build/image-store.js'
import { EmptyTree, LayersTree } from '../build/layer-tree.js'
import { writeTree, type Output } from '../build/output.js'
import { imageByDigest } from '../image/images.js'
import { exportImage } from '../image/import-rootfs.js'
import { saveAs } from '../image/save.js'
import type { Store } from '../image/store.js'
import type { Context } from './command.js'
import { writeOut } from './write-out.js'

/** Writes the built image where `--output` says. */
export async function writeResult(
  store: Store,
  images: ImageStore,
  built: BuildResult,
  result: Exclude<Output, { type: 'image' }>,
  names: readonly string[],
  { stdout }: Pick<Context, 'stdout'>,
): Promise<void> {
  const { type, dest } = result
  try {
    if (type === 'local') {
      const layers = built.image.rootfs.diff_ids
      const tree = layers.length === 0 ? new EmptyTree() : new LayersTree(images.openLayers(layers).toReversed())
      mkdirSync(dest, { recursive: true })
      try {
        writeTree(tree, '/', dest)
      } finally {
        tree.close()
      }
      return
    }
    const image = imageByDigest(store, built.manifest)
    await writeOut(type === 'tar' ? exportImage(store, image) : saveAs(store, image, names, type), dest, stdout)
  } catch (error) {
    if (error instanceof BuildError) throw error
    throw new BuildError('OUTPUT', `write ${dest}: ${(error as Error).message}`, { cause: error })
  }
}
