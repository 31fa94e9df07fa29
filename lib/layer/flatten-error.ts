/** Owns `FlattenError`: layers that do not fit together. Codes are stable. */

export type FlattenErrorCode =
  /** A hard link names what no layer has. */
  | 'LAYER_LINK'
  /** A name's parent is no directory below, or leads nowhere. */
  | 'LAYER_PARENT'
  | 'INDEX_DAMAGED'

export class FlattenError extends Error {
  override readonly name = 'FlattenError'
  readonly code: FlattenErrorCode
  constructor(code: FlattenErrorCode, message: string) {
    super(message)
    this.code = code
  }
}
