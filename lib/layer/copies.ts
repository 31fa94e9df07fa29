/**
 * Owns reading an upper directory at rest together with its hard-link index (`work/index`): the copies of lower files that
 * have several names. A name that was never copied up shows such a copy all the same, so an upper alone does not tell what
 * changed (overlayfs.rst, "index"; lib/union/hard-links.ts writes it).
 * Formats: `overlay.nlink` `U-1` says that all names are in the upper; `overlay.lower` is where the lowers have the file.
 */
import { E, FsError } from '../errno.js'
import { Stat } from '../sys/stat.js'
import { type DirectoryLayer, openDirectoryLayer } from './directory.js'

/** The value of `overlay.nlink` of a copy that no name outside the upper leads to: its links are the index's and those. */
const NONE_BELOW = 'U-1'

export interface Copy {
  /** Its name in the index. */
  readonly name: string
  /** Absolute path (byte string) of the file in the lowers. */
  readonly lower: string
}

export interface Copies {
  /** The index, a directory of copies. */
  readonly layer: DirectoryLayer
  /** Those that names outside the upper may lead to. */
  readonly list: readonly Copy[]
}

/**
 * Opens `upper` in `directory`, with the index in `work` beside it, as containers and build steps have them. Byte string;
 * throws FsError.
 */
export function openUpperLayer(directory: string): DirectoryLayer {
  const layer = openDirectoryLayer(`${directory}/upper`)
  try {
    layer.copies = openCopies(`${directory}/work/index`)
  } catch (error) {
    layer.close()
    throw error
  }
  return layer
}

function openCopies(path: string): Copies | undefined {
  let layer: DirectoryLayer
  try {
    layer = openDirectoryLayer(path)
  } catch (error) {
    // Never mounted.
    if (error instanceof FsError && error.errno === -E.ENOENT) return undefined
    throw error
  }
  const list: Copy[] = []
  const names: string[] = []
  layer.list(layer.root, name => names.push(name))
  const st = new Stat()
  for (const name of names) {
    const node = layer.lookup(layer.root, name, st)
    if (node < 0) continue
    const lower = layer.overlayXattr(node, 'lower')?.latin1Slice() ?? ''
    const below = layer.overlayXattr(node, 'nlink')?.latin1Slice() !== NONE_BELOW
    layer.release(node)
    if (below && lower.startsWith('/')) list.push({ name, lower })
  }
  if (list.length > 0) return { layer, list }
  layer.close()
  return undefined
}
