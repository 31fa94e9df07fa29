/**
 * Owns streaming zstd decompression through the system's libzstd.so.1 (zstd.h, ZSTD_decompressStream), for Nodes whose
 * zlib has none. The library is loaded when the first reader is made.
 */
import koffi from 'koffi'
import { addressOf, alloc } from './libc.js'

/** What libzstd says of damaged data, in its words. */
export class ZstdError extends Error {
  override readonly name = 'ZstdError'
}

interface Lib {
  create(): number
  free(d: number): number
  step(d: number, output: number, input: number): number
  isError(code: number): number
  errorName(code: number): string
}

let lib: Lib | undefined

function load(): Lib {
  const so = koffi.load('libzstd.so.1')
  return {
    create: so.func('uintptr_t ZSTD_createDStream()') as Lib['create'],
    free: so.func('size_t ZSTD_freeDStream(uintptr_t d)') as Lib['free'],
    step: so.func('size_t ZSTD_decompressStream(uintptr_t d, uintptr_t out, uintptr_t in)') as Lib['step'],
    isError: so.func('uint ZSTD_isError(size_t code)') as Lib['isError'],
    errorName: so.func('const char *ZSTD_getErrorName(size_t code)') as Lib['errorName'],
  }
}

const OUT_SIZE = 256 * 1024

/** Inflates any number of frames, one after another. Throws at construction when the library is not there. */
export class ZstdReader {
  readonly #lib: Lib
  readonly #stream: number
  /** ZSTD_inBuffer and ZSTD_outBuffer: pointer, size, position. */
  readonly #input = alloc(24)
  readonly #output = alloc(24)
  readonly #inputAddress = addressOf(this.#input)
  readonly #outputAddress = addressOf(this.#output)
  /** The last frame is complete, or nothing has come yet. */
  finished = true

  constructor() {
    this.#lib = lib ??= load()
    this.#stream = this.#lib.create()
  }

  /** Inflates one piece; each result is a buffer of its own. Throws ZstdError. */
  *push(chunk: Buffer): Generator<Buffer> {
    this.#input.writeBigUInt64LE(BigInt(addressOf(chunk)), 0)
    this.#input.writeBigUInt64LE(BigInt(chunk.length), 8)
    this.#input.writeBigUInt64LE(0n, 16)
    for (let full = false; full || Number(this.#input.readBigUInt64LE(16)) < chunk.length;) {
      const out = Buffer.allocUnsafeSlow(OUT_SIZE)
      this.#output.writeBigUInt64LE(BigInt(addressOf(out)), 0)
      this.#output.writeBigUInt64LE(BigInt(OUT_SIZE), 8)
      this.#output.writeBigUInt64LE(0n, 16)
      const r = this.#lib.step(this.#stream, this.#outputAddress, this.#inputAddress)
      if (this.#lib.isError(r)) throw new ZstdError(`zstd: ${this.#lib.errorName(r)}`)
      this.finished = r === 0
      const n = Number(this.#output.readBigUInt64LE(16))
      full = n === OUT_SIZE
      if (n > 0) yield out.subarray(0, n)
    }
  }

  close(): void {
    this.#lib.free(this.#stream)
  }
}
