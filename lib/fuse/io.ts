/**
 * Owns what requests on the data of files do: READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE. Which handle of the filesystem's
 * they are for is what the kernel says, or, where it does not tell of opens, what `Unannounced` has.
 * Offsets and results as in handlers.ts.
 */
import type { Filesystem } from '../union/filesystem.js'
import { FSYNC_FDATASYNC, IN_HEADER, MAX_IO, NO_REPLY, OUT_HEADER, WRITE_KILL_SUIDGID } from './protocol.js'
import type { Reply } from './reply.js'
import type { Request } from './request.js'
import { ANSWERED, type Splice, TO_BE_COPIED } from './splice.js'
import { Unannounced } from './unannounced.js'

/** The first byte after fuse_in_header. */
const ARG = IN_HEADER

/** Whether a FSYNC or FSYNCDIR asks for the data alone. */
export function dataOnly(request: Request): boolean {
  return (request.u32(ARG + 8) & FSYNC_FDATASYNC) !== 0
}

export class FileIo {
  readonly #in: Request
  readonly #out: Reply
  readonly #fs: Filesystem
  readonly #splice: Splice
  /** Where the kernel does not tell of opens. */
  unannounced: Unannounced | undefined

  constructor(request: Request, reply: Reply, filesystem: Filesystem, splice: Splice) {
    this.#in = request
    this.#out = reply
    this.#fs = filesystem
    this.#splice = splice
  }

  /** OPEN is not going to be asked. */
  openUnannounced(): void {
    this.unannounced = new Unannounced(this.#fs)
  }

  /** The handle to read `node` with; `handle` is what the kernel says. Or `-errno`. */
  #reader(node: number, handle: number): number {
    return this.unannounced === undefined ? handle : this.unannounced.reader(this.#in.caller, node)
  }

  /** The same for writing; or PENDING. */
  #writer(node: number, handle: number): number {
    return this.unannounced === undefined ? handle : this.unannounced.writer(this.#in.caller, node)
  }

  /** The answer that is one number: `result` of the filesystem, unless that is `-errno` or PENDING. */
  #number(result: number): number {
    if (result < 0) return result
    this.#out.u64(OUT_HEADER, result)
    return 8
  }

  read(): number {
    const from = this.#in
    const size = Math.min(from.u32(ARG + 16), MAX_IO)
    const handle = this.#reader(from.node, from.u64(ARG))
    if (handle < 0) return handle
    const position = from.u64(ARG + 8)
    if (this.#splice.worth(size)) {
      const file = this.#fs.source?.(from.node, handle) ?? -1
      const r = file < 0 ? TO_BE_COPIED : this.#splice.answer(file, position, size, from.uniqueLow, from.uniqueHigh)
      if (r === ANSWERED) return NO_REPLY
      if (r !== TO_BE_COPIED) return r
    }
    return this.#fs.read(from.node, handle, size, position, this.#out, OUT_HEADER)
  }

  write(): number {
    const from = this.#in
    const at = ARG + 40
    const size = Math.min(from.u32(ARG + 16), from.length - at)
    const kill = (from.u32(ARG + 20) & WRITE_KILL_SUIDGID) !== 0
    const handle = this.#writer(from.node, from.u64(ARG))
    if (handle < 0) return handle
    const r = this.#fs.write(from.caller, from.node, handle, size, from.u64(ARG + 8), from, at, kill)
    return this.#number(r)
  }

  fsync(): number {
    const handle = this.#reader(this.#in.node, this.#in.u64(ARG))
    return handle < 0 ? handle : this.#fs.fsync(this.#in.node, handle, dataOnly(this.#in))
  }

  fallocate(): number {
    const from = this.#in
    const mode = from.u32(ARG + 24)
    const handle = this.#writer(from.node, from.u64(ARG))
    if (handle < 0) return handle
    return this.#fs.fallocate(from.caller, from.node, handle, mode, from.u64(ARG + 8), from.u64(ARG + 16))
  }

  lseek(): number {
    const from = this.#in
    const handle = this.#reader(from.node, from.u64(ARG))
    if (handle < 0) return handle
    const r = this.#fs.lseek(from.node, handle, from.u64(ARG + 8), from.u32(ARG + 16))
    return this.#number(r)
  }

  /** The answer of the older opcode has 32 bits for the length: it must not be asked for more at once. */
  copyFileRange(wide: boolean): number {
    const from = this.#in
    const length = wide ? from.u64(ARG + 40) : Math.min(from.u64(ARG + 40), 0x7ffff000)
    const to = from.u64(ARG + 16)
    const toHandle = this.#writer(to, from.u64(ARG + 24))
    if (toHandle < 0) return toHandle
    const handle = this.#reader(from.node, from.u64(ARG))
    if (handle < 0) return handle
    const r = this.#fs.copyFileRange(
      from.caller,
      from.node,
      handle,
      from.u64(ARG + 8),
      to,
      toHandle,
      from.u64(ARG + 32),
      length,
    )
    return this.#number(r)
  }
}
