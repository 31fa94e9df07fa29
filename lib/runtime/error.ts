/** Owns the runtime's failures: a stable `code`, and a message of one line: verb, name, cause. */

export type RuntimeErrorCode =
  | 'NO_SUCH_CONTAINER'
  | 'AMBIGUOUS_CONTAINER'
  | 'NAME_TAKEN'
  | 'WRONG_STATE'
  | 'INVALID'
  | 'INVALID_USER'
  | 'NO_SUCH_VOLUME'
  | 'NO_SUCH_NETWORK'
  | 'NO_SUCH_IMAGE'
  | 'MOUNT_SOURCE_MISSING'
  | 'IN_USE'
  | 'PORT_TAKEN'
  | 'UNSUPPORTED'
  | 'NOT_PERMITTED'
  | 'COMMAND_NOT_FOUND'
  | 'COMMAND_NOT_EXECUTABLE'
  | 'START_FAILED'
  | 'TIMEOUT'

export class RuntimeError extends Error {
  override readonly name = 'RuntimeError'
  readonly code: RuntimeErrorCode

  constructor(code: RuntimeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
