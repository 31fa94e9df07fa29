/**
 * Owns `ImageError`: what goes wrong with images, stores and registries. Codes are stable, the message is verb, subject,
 * cause in one line; `context` names the digest, reference or URL for programs.
 */
export type ImageErrorCode =
  | 'IMAGE_NOT_FOUND'
  | 'IMAGE_IN_USE'
  | 'IMAGE_AMBIGUOUS'
  | 'REFERENCE_INVALID'
  | 'STORE_VERSION'
  | 'STORE_DAMAGED'
  | 'STORE_LOCKED'
  | 'BLOB_MISSING'
  | 'BLOB_CORRUPT'
  | 'DIGEST_MISMATCH'
  | 'DIFFID_MISMATCH'
  | 'SIZE_MISMATCH'
  | 'MEDIA_TYPE'
  | 'MANIFEST_INVALID'
  | 'MANIFEST_TOO_LARGE'
  | 'LAYER_TOO_LARGE'
  | 'PLATFORM_MISSING'
  | 'ARCHIVE_INVALID'
  | 'UNSUPPORTED'
  | 'REGISTRY_UNREACHABLE'
  | 'REGISTRY_CERTIFICATE'
  | 'REGISTRY_UNAUTHORIZED'
  | 'REGISTRY_DENIED'
  | 'REGISTRY_NOT_FOUND'
  | 'REGISTRY_LIMIT'
  | 'REGISTRY_ERROR'
  | 'CREDENTIALS'
  | 'NO_PROGRESS'

export class ImageError extends Error {
  override readonly name = 'ImageError'
  readonly code: ImageErrorCode
  readonly context: Readonly<Record<string, unknown>>

  constructor(code: ImageErrorCode, message: string, context: Readonly<Record<string, unknown>> = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.context = context
  }
}
