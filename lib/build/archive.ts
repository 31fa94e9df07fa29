/**
 * Owns what counts as an archive, for ADD and for contexts: a tar, plain or in gzip, zstd, bzip2 or xz, told by content and
 * never by name.
 * Invariant: what only looks compressed (a plain gzip file, damaged data) is no archive, and is copied as it is.
 */
import { decompress, isCompressed } from '../image/decompress.js'
import { isTarHeader, TAR_BLOCK } from '../layer/tar-framing.js'

/** How many bytes tell. */
export const ARCHIVE_HEAD = TAR_BLOCK

export function archiveKind(head: Buffer): 'tar' | 'compressed' | undefined {
  if (isCompressed(head)) return 'compressed'
  return isTarHeader(head) ? 'tar' : undefined
}

/** Whether a tar begins inside of the compressed `source`; as much of it is read as that takes. Throws ImageError UNSUPPORTED. */
export async function holdsTar(source: AsyncIterable<Buffer>): Promise<boolean> {
  let head = Buffer.alloc(0)
  try {
    for await (const chunk of decompress(source)) {
      head = Buffer.concat([head, chunk])
      if (head.length >= ARCHIVE_HEAD) break
    }
  } catch (error) {
    if ((error as { code?: string }).code !== 'BLOB_CORRUPT') throw error
  }
  return isTarHeader(head)
}
