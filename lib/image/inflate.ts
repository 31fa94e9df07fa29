/**
 * Owns a layer blob's compression: gzip, zstd or none, told by its first bytes (registries' media types are not to be
 * trusted there), and the stream that inflates it in libuv's threads while this one hashes and writes.
 * Invariant: the whole source is read, so whoever hashes it has seen all of it; a truncated blob is an error.
 */
import type { Duplex } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { ImageError } from './error.js'

export type Compression = 'gzip' | 'zstd' | 'none'

/** Compression by magic number: RFC 1952, RFC 8878; anything else is taken as a tar. */
export function compressionOf(start: Buffer): Compression {
  if (start[0] === 0x1f && start[1] === 0x8b) return 'gzip'
  if (start.length >= 4 && start.readUInt32LE(0) === 0xfd2fb528) return 'zstd'
  return 'none'
}

/** The uncompressed bytes of `source`. Throws ImageError BLOB_CORRUPT for damaged data. */
export async function* inflate(
  source: AsyncIterable<Buffer>,
  seen?: (kind: Compression) => void,
): AsyncGenerator<Buffer> {
  const { head, all } = await peek(source, 4)
  const kind = compressionOf(head)
  seen?.(kind)
  if (kind === 'none') yield* all
  else if (kind === 'gzip') yield* through(createGunzip({ chunkSize: 256 * 1024 }), all, 'gzip')
  else {
    const { unzstd } = await import('./zstd.js')
    yield* unzstd(all)
  }
}

/**
 * The first `bytes` of a stream (fewer where it is shorter, or more), and the whole stream all the same. Ending `all`
 * early ends the source.
 */
export async function peek(
  source: AsyncIterable<Buffer>,
  bytes: number,
): Promise<{ head: Buffer; all: AsyncGenerator<Buffer> }> {
  const iterator = source[Symbol.asyncIterator]()
  let head: Buffer = Buffer.alloc(0)
  while (head.length < bytes) {
    const next = await iterator.next()
    if (next.done === true) break
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value])
  }
  return { head, all: rejoin(head, iterator) }
}

async function* rejoin(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (first.length > 0) yield first
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
  } finally {
    // Who stops early stops the source too.
    await rest.return?.()
  }
}

/** Runs `source` through a zlib stream; errors of either side end the iteration. */
export async function* through(stream: Duplex, source: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  let failure: unknown
  let abandoned = false
  const feed = async (): Promise<void> => {
    try {
      for await (const chunk of source) {
        if (abandoned) return
        // What comes behind the compressed data is not inflated, but still read: the blob's digest covers it.
        if (stream.destroyed || stream.readableEnded) continue
        if (!stream.write(chunk)) await drained(stream)
      }
      stream.end()
    } catch (error) {
      failure ??= error
      stream.destroy()
    }
  }
  stream.on('error', (error: Error) => {
    // Node's word for a stream that was cut off, of either kind.
    const early = (error as NodeJS.ErrnoException).code === 'Z_BUF_ERROR'
    const wrong = early ? 'ends early' : `is damaged (${error.message})`
    failure ??= new ImageError('BLOB_CORRUPT', `inflate layer: ${what} data ${wrong}`, {}, error)
  })
  const feeding = feed()
  let complete = false
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) yield chunk
    complete = true
  } catch (error) {
    failure ??= error
  } finally {
    abandoned = !complete
    stream.destroy()
  }
  await feeding
  if (failure !== undefined) throw failure as Error
}

function drained(stream: Duplex): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      stream.off('drain', done)
      stream.off('close', done)
      resolve()
    }
    stream.on('drain', done)
    stream.on('close', done)
  })
}
