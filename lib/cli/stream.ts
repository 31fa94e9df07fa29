/** Owns writing much to an output that may be slower than we are, and reading all of an input. */
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

/** All of a stream as text. */
export async function readText(input: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of input) chunks.push(Buffer.from(chunk as Buffer))
  return Buffer.concat(chunks).toString('utf8')
}
