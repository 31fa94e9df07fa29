/**
 * Owns what can go wrong with a mount, as stable codes. A message is one line: verb, path, cause.
 * Invariant: whoever gets a MountError finds everything as it was: nothing mounted, nothing registered, nothing locked.
 */
import { FsError } from '../errno.js'

export type MountCode =
  | 'NO_LAYERS'
  | 'LOWER_NOT_FOUND'
  | 'LOWER_NOT_DIRECTORY'
  | 'LOWER_UNREADABLE'
  | 'LOWER_CORRUPT'
  | 'LOWER_INSIDE_UPPER'
  | 'UPPER_NOT_FOUND'
  | 'UPPER_NOT_DIRECTORY'
  | 'UPPER_NOT_WRITABLE'
  | 'UPPER_UNSUPPORTED'
  | 'UPPER_IN_USE'
  | 'UPPER_LOST'
  | 'WORK_MISSING'
  | 'WORK_NOT_FOUND'
  | 'WORK_NOT_DIRECTORY'
  | 'WORK_INSIDE_UPPER'
  | 'WORK_OTHER_FILESYSTEM'
  | 'MOUNTPOINT_NOT_FOUND'
  | 'MOUNTPOINT_NOT_DIRECTORY'
  | 'MOUNTPOINT_BUSY'
  | 'MOUNTPOINT_INSIDE_UPPER'
  | 'NO_FUSE'
  | 'NO_FUSERMOUNT'
  | 'NO_FUSE_NATIVE'
  | 'NOT_PERMITTED'
  | 'UNSUPPORTED'
  | 'NOT_MOUNTED'
  | 'IN_USE'
  | 'SERVER_FAILED'

/** Environments that cannot, as opposed to requests that are wrong. */
const UNSUPPORTED_EXIT = 3
const environment = new Set<MountCode>([
  'NO_FUSE',
  'NO_FUSERMOUNT',
  'NO_FUSE_NATIVE',
  'NOT_PERMITTED',
  'UNSUPPORTED',
  'UPPER_UNSUPPORTED',
])

export class MountError extends Error {
  override readonly name = 'MountError'
  readonly code: MountCode
  readonly path: string | undefined
  readonly exitCode?: number

  constructor(code: MountCode, message: string, path?: string) {
    super(message)
    this.code = code
    this.path = path
    if (environment.has(code)) this.exitCode = UNSUPPORTED_EXIT
  }
}

/** A failure as data, to cross threads and processes. */
export interface FailureData {
  readonly code: MountCode
  readonly message: string
  readonly path?: string
}

/** Anything thrown while a mount is made, as data. */
export function failureOf(error: unknown): FailureData {
  if (error instanceof MountError)
    return { code: error.code, message: error.message, ...(error.path === undefined ? {} : { path: error.path }) }
  if (error instanceof FsError) return { code: 'SERVER_FAILED', message: error.message }
  return { code: 'SERVER_FAILED', message: error instanceof Error ? error.message : String(error) }
}

export function failureFrom(data: FailureData): MountError {
  return new MountError(data.code, data.message, data.path)
}
