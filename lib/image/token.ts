/**
 * Owns answering a registry's challenge (RFC 7235, and the distribution-spec's token service).
 * Invariant: a password goes to no service over plain HTTP, unless the registry itself is spoken to so.
 */
import type { Credential } from './auth.js'
import { ImageError } from './error.js'
import { discard, type HttpRequest, type HttpResponse, readBody } from './http.js'
import { refusal, unauthorized } from './refusal.js'

/** Who asks: of which registry, as whom, and how requests are sent. */
interface Asker {
  readonly host: string
  readonly base: URL
  readonly credential: Credential | undefined
  send(
    method: HttpRequest['method'],
    url: URL,
    headers: Record<string, string>,
    body: HttpRequest['body'],
  ): Promise<HttpResponse>
}

/** The Authorization header that answers `challenge`. Throws ImageError REGISTRY_*. */
export async function authorize(
  challenge: string,
  scope: string,
  what: string,
  { host, base, credential, send }: Asker,
): Promise<string> {
  const refused = new ImageError('REGISTRY_UNAUTHORIZED', `${what}: ${unauthorized(host, credential)}`, { status: 401 })
  if (/^basic\b/i.test(challenge)) {
    if (credential === undefined) throw refused
    return basic(credential)
  }
  if (!/^bearer\b/i.test(challenge)) throw refused
  const fields = new Map([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map(m => [m[1], m[2] as string]))
  const realm = fields.get('realm')
  if (realm === undefined) throw refused
  const url = new URL(realm)
  // A token service over plain HTTP would read the password along with everyone else.
  if (url.protocol !== 'https:' && base.protocol === 'https:')
    throw new ImageError('REGISTRY_ERROR', `${what}: token service ${url.origin} is not secure`)
  const service = fields.get('service')
  const scopes = (fields.get('scope') ?? scope).split(' ').filter(Boolean)
  let response: HttpResponse
  if (credential?.identityToken !== undefined) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credential.identityToken,
      client_id: 'lamina',
    })
    if (service !== undefined) form.set('service', service)
    if (scope !== '') form.set('scope', scope)
    response = await send(
      'POST',
      url,
      { 'content-type': 'application/x-www-form-urlencoded' },
      Buffer.from(form.toString()),
    )
  } else {
    if (service !== undefined) url.searchParams.set('service', service)
    for (const s of new Set([...scopes, ...scope.split(' ').filter(Boolean)])) url.searchParams.append('scope', s)
    response = await send('GET', url, credential === undefined ? {} : { authorization: basic(credential) }, undefined)
  }
  if (response.status !== 200) {
    if (response.status === 401 || response.status === 403) {
      discard(response)
      throw refused
    }
    throw await refusal(response, what, host, credential)
  }
  const json = JSON.parse((await readBody(response, 1 << 20)).toString('utf8')) as {
    token?: string
    access_token?: string
  }
  const token = json.token ?? json.access_token
  if (typeof token !== 'string') throw new ImageError('REGISTRY_ERROR', `${what}: the token service sent no token`)
  return `Bearer ${token}`
}

function basic(credential: Credential): string {
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`
}
