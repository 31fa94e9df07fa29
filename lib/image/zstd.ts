/**
 * Owns zstd decompression as a stream: node:zlib where this Node has it (22.15, 23.8), else the system's libzstd.so.1
 * through koffi (lib/sys/zstd.ts).
 * Invariant: a truncated or damaged frame is an error, never a short output.
 */
import zlib from 'node:zlib'
import { ImageError } from './error.js'
import type { Duplex } from 'node:stream'

/** Inflates one or more zstd frames. Throws ImageError UNSUPPORTED when neither way exists. */
export async function* unzstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const create = (zlib as { createZstdDecompress?: () => Duplex }).createZstdDecompress
  if (create !== undefined) {
    const { through } = await import('./inflate.js')
    yield* through(create(), source, 'zstd')
    return
  }
  const { ZstdReader } = await import('../sys/zstd.js')
  let reader: InstanceType<typeof ZstdReader>
  try {
    reader = new ZstdReader()
  } catch (error) {
    throw new ImageError(
      'UNSUPPORTED',
      'inflate layer: zstd needs Node 22.15 or libzstd.so.1 (Debian: libzstd1)',
      {},
      error,
    )
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
