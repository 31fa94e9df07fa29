/**
 * Owns archives as people have them, beside what registries carry: bzip2 and xz too, told by their first bytes. There is
 * no kept library for them, so the machine's own programs unpack them, confined (filter-program.ts).
 * Invariant: what is none of the two comes out untouched; inflate.ts knows gzip and zstd.
 */
import { ImageError } from './error.js'
import { filterThrough, findProgram } from './filter-program.js'
import { compressionOf, inflate, peek } from './inflate.js'

interface Format {
  readonly name: string
  readonly magic: readonly number[]
  readonly program: string
  /** The Debian package that has it. */
  readonly package: string
}

const FORMATS: readonly Format[] = [
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], program: 'bzip2', package: 'bzip2' },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], program: 'xz', package: 'xz-utils' },
]

/** Whether a stream that begins so is compressed in a way that `decompress` knows. */
export function isCompressed(head: Buffer): boolean {
  return compressionOf(head) !== 'none' || formatOf(head) !== undefined
}

function formatOf(head: Uint8Array): Format | undefined {
  return FORMATS.find(({ magic }) => magic.every((byte, i) => head[i] === byte))
}

/** The bytes of `source` without bzip2 or xz around them. Throws ImageError BLOB_CORRUPT, UNSUPPORTED. */
export async function* withoutForeign(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const { head, all } = await peek(source, 6)
  const format = formatOf(head)
  if (!format) {
    yield* all
    return
  }
  const path = findProgram(format.program)
  if (path === undefined)
    throw new ImageError(
      'UNSUPPORTED',
      `unpack ${format.name}: this machine has no program "${format.program}" (Debian: ${format.package})`,
    )
  yield* filterThrough(path, ['-dc'], all)
}

/** The uncompressed bytes of `source`, whatever is around them. */
export function decompress(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  return inflate(withoutForeign(source))
}
