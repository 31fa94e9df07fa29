/**
 * Owns the conversation over a container's socket: frames of one type byte, a 32-bit big-endian length and a payload.
 * A client's first frame is Hello (JSON: what it wants); then data flows both ways until Exit.
 * Invariant: a frame longer than MAX ends the connection; whoever may open the socket (mode 0600) is trusted as its owner.
 */

export const Frame = {
  /** Client: JSON `Hello`. */
  Hello: 0,
  /** Client: data for stdin. */
  Stdin: 1,
  /** Client: stdin has ended. */
  StdinEnd: 2,
  /** Client: u16 rows, u16 columns. */
  Resize: 3,
  /** Server. */
  Stdout: 4,
  Stderr: 5,
  /** Server: JSON, the answer to a Hello. */
  Answer: 6,
  /** Server: JSON `{exitCode}`; the last frame of an attachment. */
  Exit: 7,
} as const

export type Hello =
  | { want: 'attach'; stdin: boolean }
  | { want: 'stop'; signal: number; timeout: number }
  | { want: 'restart'; signal: number; timeout: number }
  | { want: 'wait' }

const MAX = 1 << 20

export function frame(type: number, payload: Uint8Array | string = ''): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  const out = Buffer.allocUnsafe(5 + bytes.length)
  out.writeUInt8(type, 0)
  out.writeUInt32BE(bytes.length, 1)
  out.set(bytes, 5)
  return out
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0)

  /** Calls `each` for every frame that is complete with `chunk`. Throws RangeError for one that is too long. */
  push(chunk: Buffer, each: (type: number, payload: Buffer) => void): void {
    let data = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    while (data.length >= 5) {
      const length = data.readUInt32BE(1)
      if (length > MAX) throw new RangeError(`frame of ${length} bytes`)
      if (data.length < 5 + length) break
      const payload = data.subarray(5, 5 + length)
      const type = data[0] as number
      data = data.subarray(5 + length)
      each(type, payload)
    }
    this.#pending = Buffer.from(data)
  }
}
