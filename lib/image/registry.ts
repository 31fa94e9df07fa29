/**
 * Owns the registry protocol (OCI distribution-spec v1.1): one `Registry` per host speaks for the commands: tokens, retries
 * with backoff, resumed downloads, uploads, mounting a blob from another repository.
 * Invariant: nothing that a registry says of size or digest is believed: callers hash what comes, and a download never
 * gives more bytes than asked for.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, digestBytes } from '../digest.js'
import type { Credential } from './auth.js'
import { ImageError } from './error.js'
import { discard, type HttpRequest, type HttpResponse, readBody, request } from './http.js'
import { MAX_DOCUMENT, MEDIA } from './manifest.js'
import { asImageError, refusal } from './refusal.js'
import { nextPage, readTags } from './tags.js'
import { authorize } from './token.js'

export interface RegistryOptions {
  readonly credential?: Credential | undefined
  /** false: also plain HTTP, and certificates are not checked. */
  readonly tlsVerify?: boolean | undefined
  /** Told before a wait. */
  readonly onRetry?: (message: string) => void
}

const ATTEMPTS = 5
const MAX_REDIRECTS = 5
const MAX_WAIT = 30_000
const MAX_PAGES = 1000
const MAX_TAGS = 100_000
const ACCEPT = [MEDIA.ociManifest, MEDIA.ociIndex, MEDIA.dockerManifest, MEDIA.dockerList].join(', ')

export interface FetchedManifest {
  readonly bytes: Buffer
  readonly mediaType: string | undefined
  readonly digest: Digest
}

export class Registry {
  readonly host: string
  readonly #options: RegistryOptions
  #base: URL | undefined
  /** Authorization header by scope. */
  readonly #tokens = new Map<string, string>()

  constructor(host: string, options: RegistryOptions = {}) {
    this.host = host
    this.#options = options
  }

  /** A manifest or index by tag or digest. Throws ImageError REGISTRY_*, DIGEST_MISMATCH, MANIFEST_TOO_LARGE. */
  async manifest(repository: string, reference: string): Promise<FetchedManifest> {
    const what = `pull ${this.host}/${repository}:${reference}`
    const response = await this.#send('GET', repository, `manifests/${reference}`, what, {
      headers: { accept: ACCEPT },
    })
    const bytes = await readBody(response, MAX_DOCUMENT)
    const digest = digestBytes(bytes)
    if (reference.startsWith('sha256:') && digest !== reference)
      throw new ImageError('DIGEST_MISMATCH', `${what}: the registry sent ${digest}`, { reference, digest })
    return { bytes, mediaType: response.headers['content-type']?.split(';')[0], digest }
  }

  /**
   * A blob's bytes. When the connection dies, goes on from where it was (Range), up to five times without progress.
   * Throws ImageError REGISTRY_* and SIZE_MISMATCH; the caller verifies the digest.
   */
  async *blob(repository: string, digest: Digest, size: number): AsyncGenerator<Buffer> {
    const what = `pull blob ${digest.slice(0, 19)}`
    let received = 0
    for (let failures = 0; received < size || size === 0;) {
      const before = received
      try {
        const headers: Record<string, string> = received > 0 ? { range: `bytes=${received}-` } : {}
        const response = await this.#send('GET', repository, `blobs/${digest}`, what, { headers })
        let skip = response.status === 206 ? 0 : received
        const announced = response.headers['content-length']
        if (response.status === 200 && announced !== undefined && Number(announced) !== size) {
          response.body.destroy()
          throw new ImageError(
            'SIZE_MISMATCH',
            `${what}: the registry has ${announced} bytes, the manifest says ${size}`,
            { digest },
          )
        }
        for await (const chunk of response.body as AsyncIterable<Buffer>) {
          const fresh = skip > 0 ? chunk.subarray(Math.min(skip, chunk.length)) : chunk
          skip -= chunk.length - fresh.length
          if (fresh.length === 0) continue
          if (received + fresh.length > size) {
            response.body.destroy()
            throw new ImageError('SIZE_MISMATCH', `${what}: more than the ${size} bytes announced`, { digest })
          }
          received += fresh.length
          yield fresh
        }
        if (received >= size) return
        throw new ImageError(
          'REGISTRY_UNREACHABLE',
          `${what}: the connection ended after ${received} of ${size} bytes`,
          { digest },
        )
      } catch (error) {
        if (error instanceof ImageError && error.code !== 'REGISTRY_UNREACHABLE') throw error
        failures = received > before ? 1 : failures + 1
        if (failures >= ATTEMPTS) throw asImageError(error, what)
        await this.#wait(failures, undefined, what)
      }
    }
  }

  /** A small blob, whole and verified. */
  async document(repository: string, digest: Digest, size: number): Promise<Buffer> {
    if (size > MAX_DOCUMENT)
      throw new ImageError('MANIFEST_TOO_LARGE', `pull blob ${digest}: ${size} bytes, the limit is ${MAX_DOCUMENT}`)
    const parts: Buffer[] = []
    for await (const chunk of this.blob(repository, digest, size)) parts.push(chunk)
    const bytes = Buffer.concat(parts)
    if (digestBytes(bytes) !== digest)
      throw new ImageError('DIGEST_MISMATCH', `pull blob ${digest}: the registry sent ${digestBytes(bytes)}`, {
        digest,
      })
    return bytes
  }

  /**
   * All tags of a repository, page by page (`Link`). Throws ImageError REGISTRY_*, also for a next page on another host,
   * and MANIFEST_TOO_LARGE.
   */
  async tags(repository: string): Promise<string[]> {
    const what = `list tags of ${this.host}/${repository}`
    const found = new Set<string>()
    let page: string | URL | undefined = 'tags/list'
    for (let pages = 0; page !== undefined; pages++) {
      const response = await this.#send('GET', repository, page, what, {})
      for (const tag of readTags(await readBody(response, MAX_DOCUMENT), what)) found.add(tag)
      if (pages === MAX_PAGES || found.size > MAX_TAGS)
        throw new ImageError('REGISTRY_ERROR', `${what}: no end after ${pages} pages and ${found.size} tags`)
      // Relative to what was asked for, not to where that was redirected to.
      page = nextPage(response.headers['link'], page instanceof URL ? page : await this.#baseURL(what), what)
    }
    return [...found]
  }

  async hasBlob(repository: string, digest: Digest): Promise<boolean> {
    const response = await this.#send('HEAD', repository, `blobs/${digest}`, `push blob ${digest.slice(0, 19)}`, {
      push: true,
      accept: [404],
    })
    discard(response)
    return response.status === 200
  }

  /** Makes the registry take a blob from another repository of its own. False when it wants an upload instead. */
  async mountBlob(repository: string, digest: Digest, from: string): Promise<boolean> {
    const path = `blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`
    const response = await this.#send('POST', repository, path, `push blob ${digest.slice(0, 19)}`, {
      push: true,
      also: from,
    })
    discard(response)
    if (response.status === 201) return true
    const location = response.headers.location
    // The upload that it began instead is not wanted in this form.
    if (location !== undefined) await this.#cancel(repository, new URL(location, response.url))
    return false
  }

  /** Uploads a blob in one piece (POST, then PUT). `open` is called again for each attempt. */
  async pushBlob(repository: string, digest: Digest, size: number, open: () => AsyncIterable<Buffer>): Promise<void> {
    const what = `push blob ${digest.slice(0, 19)}`
    for (let failures = 0; ;) {
      try {
        const started = await this.#send('POST', repository, 'blobs/uploads/', what, { push: true })
        discard(started)
        const location = started.headers.location
        if (location === undefined)
          throw new ImageError('REGISTRY_ERROR', `${what}: the registry gave no upload address`)
        const url = new URL(location, started.url)
        url.searchParams.set('digest', digest)
        const response = await this.#send('PUT', repository, url, what, {
          push: true,
          once: true,
          headers: { 'content-type': 'application/octet-stream' },
          body: { stream: open(), length: size },
        })
        discard(response)
        return
      } catch (error) {
        const again =
          error instanceof ImageError &&
          ['REGISTRY_UNREACHABLE', 'REGISTRY_LIMIT', 'REGISTRY_ERROR'].includes(error.code)
        const status = error instanceof ImageError ? (error.context['status'] as number | undefined) : undefined
        if (!again || (status !== undefined && status < 500 && status !== 429) || ++failures >= ATTEMPTS) throw error
        await this.#wait(failures, undefined, what)
      }
    }
  }

  async pushManifest(repository: string, reference: string, bytes: Buffer, mediaType: string): Promise<void> {
    const what = `push ${this.host}/${repository}:${reference}`
    const response = await this.#send('PUT', repository, `manifests/${reference}`, what, {
      push: true,
      headers: { 'content-type': mediaType },
      body: bytes,
    })
    discard(response)
  }

  /** Asks whether the registry takes the credential (GET /v2/). Throws ImageError REGISTRY_UNAUTHORIZED and others. */
  async login(): Promise<void> {
    const response = await this.#send('GET', undefined, '', `login ${this.host}`, {})
    discard(response)
  }

  async #cancel(repository: string, url: URL): Promise<void> {
    try {
      discard(await this.#send('DELETE', repository, url, 'push', { push: true, once: true, accept: [404, 405] }))
    } catch {
      // Only politeness: the registry drops unfinished uploads by itself.
    }
  }

  /** One request with credentials, redirects and retries. Throws for every status that is neither 2xx nor in `accept`. */
  async #send(
    method: HttpRequest['method'],
    repository: string | undefined,
    path: string | URL,
    what: string,
    options: {
      readonly headers?: Record<string, string>
      readonly body?: HttpRequest['body']
      readonly push?: boolean
      readonly also?: string
      readonly once?: boolean
      readonly accept?: readonly number[]
    },
  ): Promise<HttpResponse> {
    const base = await this.#baseURL(what)
    let scope =
      repository === undefined ? '' : `repository:${repository}:${options.push === true ? 'pull,push' : 'pull'}`
    if (options.also !== undefined) scope += ` repository:${options.also}:pull`
    let asked = false
    for (let failures = 0; ;) {
      let url =
        path instanceof URL ? path : new URL(`/v2/${repository === undefined ? '' : `${repository}/`}${path}`, base)
      const token = this.#tokens.get(scope)
      let response: HttpResponse
      try {
        response = await this.#request(
          method,
          url,
          { ...options.headers, ...(token ? { authorization: token } : {}) },
          options.body,
        )
        for (let hops = 0; [301, 302, 303, 307, 308].includes(response.status) && response.headers.location; hops++) {
          discard(response)
          if (hops === MAX_REDIRECTS) throw new ImageError('REGISTRY_ERROR', `${what}: too many redirects`)
          const next = new URL(response.headers.location, url)
          if (next.protocol !== 'https:' && (url.protocol === 'https:' || next.protocol !== 'http:'))
            throw new ImageError(
              'REGISTRY_ERROR',
              `${what}: redirected to ${next.protocol}//${next.host}, which is not secure`,
            )
          const headers = { ...options.headers, ...(token && next.host === base.host ? { authorization: token } : {}) }
          url = next
          response = await this.#request(method, url, headers, options.body)
        }
      } catch (error) {
        if (
          options.once === true ||
          !(error instanceof ImageError) ||
          error.code !== 'REGISTRY_UNREACHABLE' ||
          ++failures >= ATTEMPTS
        )
          throw error
        await this.#wait(failures, undefined, what)
        continue
      }
      const { status } = response
      if ((status >= 200 && status < 300) || options.accept?.includes(status) === true) return response
      if (status === 401 && !asked && options.once !== true) {
        asked = true
        const challenge = response.headers['www-authenticate'] ?? ''
        discard(response)
        this.#tokens.set(
          scope,
          await authorize(challenge, scope, what, {
            host: this.host,
            base,
            credential: this.#options.credential,
            send: (...words) => this.#request(...words),
          }),
        )
        continue
      }
      if ((status === 429 || status >= 500) && options.once !== true && ++failures < ATTEMPTS) {
        discard(response)
        await this.#wait(failures, response.headers['retry-after'], `${what}: status ${status}`)
        continue
      }
      throw await refusal(response, what, this.host, this.#options.credential)
    }
  }

  #request(
    method: HttpRequest['method'],
    url: URL,
    headers: Record<string, string>,
    body: HttpRequest['body'],
  ): Promise<HttpResponse> {
    return request({ method, url, headers, body, insecure: this.#options.tlsVerify === false })
  }

  /** https, and http only for loopback hosts or where certificates are not asked for: found out once. */
  async #baseURL(what: string): Promise<URL> {
    if (this.#base !== undefined) return this.#base
    const host = this.host === 'docker.io' ? 'registry-1.docker.io' : this.host
    const name = host.replace(/:\d+$/, '')
    const loopback = name === 'localhost' || name === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(name)
    if (this.#options.tlsVerify !== false && !loopback) return (this.#base = new URL(`https://${host}`))
    try {
      discard(await this.#request('GET', new URL(`https://${host}/v2/`), {}, undefined))
      return (this.#base = new URL(`https://${host}`))
    } catch (error) {
      // Only who speaks no TLS is asked without: a certificate that is wrong is no reason to do without one.
      if (error instanceof ImageError && error.code === 'REGISTRY_CERTIFICATE') throw error
      try {
        discard(await this.#request('GET', new URL(`http://${host}/v2/`), {}, undefined))
      } catch {
        throw asImageError(error, what)
      }
      return (this.#base = new URL(`http://${host}`))
    }
  }

  async #wait(failures: number, retryAfter: string | undefined, what: string): Promise<void> {
    const asked = retryAfter === undefined ? NaN : Number(retryAfter) * 1000
    const wait = Math.min(
      Number.isFinite(asked) ? asked : 200 * 2 ** (failures - 1) * (0.75 + Math.random() / 2),
      MAX_WAIT,
    )
    this.#options.onRetry?.(`${what}; trying again in ${Math.ceil(wait / 100) / 10} s`)
    await sleep(wait)
  }
}
