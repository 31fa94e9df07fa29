/** Owns `TarError`: what a tar can do wrong. Codes are stable; the message names the entry and the cause in one line. */
import { textOf } from '../bytes.js'

export type TarErrorCode =
  /** Damaged framing: checksum, sizes, records, truncation. */
  | 'TAR_CORRUPT'
  /** A name that may not be: `..`, empty, too long, reserved. */
  | 'TAR_NAME'
  /** A parent that is no directory (a symlink would lead out of the tree), or a link that leads nowhere allowed. */
  | 'TAR_ESCAPE'
  /** Something this program does not take: multi-volume archives, unknown entry types, impossible attributes. */
  | 'TAR_UNSUPPORTED'
  /** More entries, bytes or nesting than the limits allow. */
  | 'TAR_LIMIT'

export class TarError extends Error {
  override readonly name = 'TarError'
  readonly code: TarErrorCode
  /** The entry's name as the tar has it (byte string), '' when it is not one entry's fault. */
  readonly entry: string

  constructor(code: TarErrorCode, cause: string, entry = '') {
    super(entry === '' ? `read tar: ${cause}` : `read tar ${shown(entry)}: ${cause}`)
    this.code = code
    this.entry = entry
  }
}

function shown(entry: string): string {
  const text = textOf(entry)
  return text.length > 200 ? `${text.slice(0, 200)}…` : text
}
