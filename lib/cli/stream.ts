/** Owns writing much to an output that may be slower than we are. */
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import type { Output } from './command.js'

/** Writes every chunk, waiting while the reader is behind. */
export async function writeAll(
  out: Output,
  chunks: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>,
): Promise<void> {
  for await (const chunk of chunks) {
    const stream = out as Partial<Writable> & Output
    if (!out.write(chunk) && typeof stream.once === 'function') await once(stream as Writable, 'drain')
  }
}
