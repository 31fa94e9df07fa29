/**
 * Owns HTTP requests as registries need them, on node:http and node:https: fetch in Node 20 can neither skip TLS checks
 * for one host nor send a body of known length from a stream without a further package.
 * Invariant: redirects are followed by the caller only, so a credential is never sent to a host it was not meant for.
 */
import http from 'node:http'
import https from 'node:https'
import { certificatesFor } from './certificates.js'
import { ImageError } from './error.js'

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** A body: bytes, or a stream of exactly `length` bytes. */
  readonly body?: Buffer | { readonly stream: AsyncIterable<Buffer>; readonly length: number } | undefined
  /** Skip checking the server's certificate. */
  readonly insecure?: boolean
  readonly signal?: AbortSignal | undefined
}

export interface HttpResponse {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly url: URL
  /** The body; must be read or discarded (`discard`). Ends with an error when the connection dies before the end. */
  readonly body: http.IncomingMessage
}

/** No bytes for this long is a dead connection. */
const IDLE_TIMEOUT = 60_000

const connections = { keepAlive: true, maxSockets: 8, timeout: IDLE_TIMEOUT }
const agents = new Map<string, http.Agent>()

/** One pool of connections for plain HTTP, one for unchecked servers, and one for each host whose certificate is checked. */
function agentOf(req: HttpRequest): http.Agent {
  const secure = req.url.protocol === 'https:'
  const checked = secure && req.insecure !== true
  const name = checked ? req.url.host : req.url.protocol
  let agent = agents.get(name)
  if (agent === undefined) {
    agent = checked
      ? new https.Agent({ ...connections, ...certificatesFor(req.url.host) })
      : secure
        ? new https.Agent({ ...connections, rejectUnauthorized: false })
        : new http.Agent(connections)
    agents.set(name, agent)
  }
  return agent
}

/**
 * Sends one request; resolves when the response's headers are there. Throws ImageError REGISTRY_UNREACHABLE, and
 * REGISTRY_CERTIFICATE when the server is not who it should be.
 */
export async function request(req: HttpRequest): Promise<HttpResponse> {
  const secure = req.url.protocol === 'https:'
  const agent = agentOf(req)
  const length = req.body === undefined ? undefined : Buffer.isBuffer(req.body) ? req.body.length : req.body.length
  const headers: Record<string, string> = { 'user-agent': 'lamina', ...req.headers }
  if (length !== undefined) headers['content-length'] = String(length)
  else if (req.method === 'POST' || req.method === 'PUT' || req.method === 'PATCH') headers['content-length'] = '0'
  return new Promise<HttpResponse>((resolve, reject) => {
    const failed = (error: unknown): void => reject(failure(req, error))
    const client = (secure ? https : http).request(
      req.url,
      { method: req.method, headers, agent, ...(req.signal ? { signal: req.signal } : {}) },
      body => resolve({ status: body.statusCode ?? 0, headers: body.headers, url: req.url, body }),
    )
    client.setTimeout(IDLE_TIMEOUT, () => client.destroy(new Error(`no answer for ${IDLE_TIMEOUT / 1000} s`)))
    client.on('error', failed)
    const { body } = req
    if (body === undefined || Buffer.isBuffer(body)) client.end(body)
    else {
      const send = async (): Promise<void> => {
        for await (const chunk of body.stream) {
          if (client.destroyed) return
          if (!client.write(chunk))
            await new Promise<void>(r => {
              const go = (): void => {
                client.off('drain', go)
                client.off('close', go)
                r()
              }
              client.on('drain', go)
              client.on('close', go)
            })
        }
        client.end()
      }
      send().catch((error: unknown) => {
        reject(error as Error)
        client.destroy()
      })
    }
  })
}

/** OpenSSL's verdicts on a chain of certificates, and Node's on the name in it. */
const DISTRUST =
  /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|ERR_TLS_CERT|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_)/

function failure(req: HttpRequest, error: unknown): ImageError {
  const e = error as NodeJS.ErrnoException
  const cause =
    e.code === undefined || e.message.includes(e.code) ? e.message || e.code || String(e) : `${e.message} (${e.code})`
  const what = `${req.method} ${req.url.origin}: ${cause}`
  const context = { url: req.url.href }
  if (e.code === undefined || !DISTRUST.test(e.code))
    return new ImageError('REGISTRY_UNREACHABLE', what, context, error)
  const remedy = `its authority may be put into certs.d/${req.url.host}/ca.crt, or --tls-verify=false`
  return new ImageError('REGISTRY_CERTIFICATE', `${what}: the certificate is not trusted; ${remedy}`, context, error)
}

/** Reads a body of at most `limit` bytes. Throws ImageError MANIFEST_TOO_LARGE, REGISTRY_UNREACHABLE. */
export async function readBody(response: HttpResponse, limit: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > limit) {
        response.body.destroy()
        throw new ImageError('MANIFEST_TOO_LARGE', `GET ${response.url.href}: more than ${limit} bytes`, {
          url: response.url.href,
        })
      }
      parts.push(chunk)
    }
  } catch (error) {
    if (error instanceof ImageError) throw error
    throw new ImageError('REGISTRY_UNREACHABLE', `GET ${response.url.href}: ${(error as Error).message}`, {}, error)
  }
  return Buffer.concat(parts)
}

/** Lets the connection be used again. */
export function discard(response: HttpResponse): void {
  response.body.on('error', () => {})
  response.body.resume()
}

/** Closes idle connections, so that the process can end. */
export function closeConnections(): void {
  for (const agent of agents.values()) agent.destroy()
  agents.clear()
}
