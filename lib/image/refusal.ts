/** Owns what a registry's refusals mean: status and error document (distribution-spec) to ImageError. */
import type { Credential } from './auth.js'
import { ImageError } from './error.js'
import { type HttpResponse, readBody } from './http.js'

/** The error for a response that is none of those that were expected; reads its body. */
export async function refusal(
  response: HttpResponse,
  what: string,
  host: string,
  credential: Credential | undefined,
): Promise<ImageError> {
  const { status } = response
  let detail = ''
  try {
    const json = JSON.parse((await readBody(response, 1 << 16)).toString('utf8')) as {
      errors?: { code?: string; message?: string }[]
    }
    detail = (json.errors ?? [])
      .map(e => e.message ?? e.code ?? '')
      .filter(Boolean)
      .join('; ')
      .slice(0, 300)
  } catch {
    // Not the error document of the specification: the status has to do.
  }
  const say = (text: string): string => `${what}: ${text}${detail === '' ? '' : ` (${detail})`}`
  const context = { status, url: response.url.href }
  if (status === 401) return new ImageError('REGISTRY_UNAUTHORIZED', say(unauthorized(host, credential)), context)
  if (status === 403) return new ImageError('REGISTRY_DENIED', say('the registry refuses it'), context)
  if (status === 404) return new ImageError('REGISTRY_NOT_FOUND', say('not found'), context)
  if (status === 429) return new ImageError('REGISTRY_LIMIT', say('too many requests'), context)
  return new ImageError('REGISTRY_ERROR', say(`the registry answered ${status}`), context)
}

export function unauthorized(host: string, credential: Credential | undefined): string {
  return credential === undefined
    ? `authentication required (lamina login ${host})`
    : 'the registry does not take this user name and password'
}

/** What went wrong on the way to a registry. */
export function asImageError(error: unknown, what: string): ImageError {
  if (error instanceof ImageError) return error
  return new ImageError('REGISTRY_UNREACHABLE', `${what}: ${(error as Error).message}`, {}, error)
}
