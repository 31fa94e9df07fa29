/**
 * Owns zstd decompression as a stream: node:zlib from Node 24 on, else the system's libzstd.so.1 through koffi
 * (lib/sys/zstd.ts). Node 22's own takes a frame that was cut off for a whole one: it is used where there is no libzstd, and
 * then the blob's digest and the end of the tar tell.
 * Invariant: a truncated or damaged frame is an error, never a short output.
 */
import zlib from 'node:zlib'
import { ImageError } from './error.js'
import type { Duplex } from 'node:stream'
import type { ZstdReader } from '../sys/zstd.js'

/** Inflates one or more zstd frames. Throws ImageError UNSUPPORTED when neither way exists. */
export async function* unzstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const reader = await decoder()
  if ('pipe' in reader) {
    const { through } = await import('./inflate.js')
    yield* through(reader, source, 'zstd')
    return
  }
  try {
    for await (const chunk of source) yield* reader.push(chunk)
    if (!reader.finished) throw new ImageError('BLOB_CORRUPT', 'inflate layer: zstd data ends early')
  } catch (error) {
    if (error instanceof ImageError) throw error
    if (error instanceof Error && error.name === 'ZstdError')
      throw new ImageError('BLOB_CORRUPT', `inflate layer: ${error.message}`, {}, error)
    throw error
  } finally {
    reader.close()
  }
}

/** Node's stream or libzstd's reader, whichever is to be relied on; UNSUPPORTED where there is neither. */
async function decoder(): Promise<Duplex | ZstdReader> {
  const create = (zlib as { createZstdDecompress?: () => Duplex }).createZstdDecompress
  if (create !== undefined && Number.parseInt(process.versions.node) >= 24) return create()
  const { ZstdReader } = await import('../sys/zstd.js')
  try {
    return new ZstdReader()
  } catch (error) {
    if (create !== undefined) return create()
    const message = 'inflate layer: zstd needs Node 22.15 or libzstd.so.1 (Debian: libzstd1)'
    throw new ImageError('UNSUPPORTED', message, {}, error)
  }
}
