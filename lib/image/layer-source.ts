/** Owns where a layer's bytes come from: a region of a file, or a stream. Formats: sizes and offsets are bytes of the blob. */
import { closeSync, openSync, readSync } from 'node:fs'
import { ImageError } from './error.js'

export type LayerSource =
  | { readonly kind: 'file'; readonly path: string; readonly offset: number; readonly size: number }
  | { readonly kind: 'stream'; readonly open: () => AsyncIterable<Buffer>; readonly size: number }

const READ_SIZE = 256 * 1024

/** The bytes of a source, in pieces of their own. */
export async function* chunksOf(source: LayerSource): AsyncGenerator<Buffer> {
  if (source.kind === 'stream') {
    yield* source.open()
    return
  }
  const fd = openSync(source.path, 'r')
  try {
    for (let at = 0; at < source.size;) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, source.size - at))
      const n = readSync(fd, buffer, 0, buffer.length, source.offset + at)
      if (n === 0) throw new ImageError('BLOB_CORRUPT', `read ${source.path}: it ends early`)
      yield n === buffer.length ? buffer : buffer.subarray(0, n)
      at += n
    }
  } finally {
    closeSync(fd)
  }
}
