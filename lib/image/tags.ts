/**
 * Owns the documents in which a registry lists tags (distribution-spec, "Listing Tags"), and where the next one is (RFC 8288).
 * Invariant: a tag that is none never gets out of here, and no page leads to another host, which would be given the token.
 */
import { ImageError } from './error.js'
import { isTag } from './reference.js'

/** The tags of one page. Throws REGISTRY_ERROR. */
export function readTags(bytes: Buffer, what: string): string[] {
  let tags: unknown
  try {
    tags = (JSON.parse(bytes.toString('utf8')) as { tags?: unknown } | null)?.tags ?? []
  } catch {
    tags = undefined
  }
  if (!Array.isArray(tags)) throw new ImageError('REGISTRY_ERROR', `${what}: the registry sent no list of tags`)
  return tags.map((tag: unknown) => {
    if (typeof tag !== 'string' || !isTag(tag))
      throw new ImageError('REGISTRY_ERROR', `${what}: ${String(tag).slice(0, 200)} is no tag`)
    return tag
  })
}

/** The page that a `Link` header with rel="next" leads to from `base`; undefined when there is none. Throws REGISTRY_ERROR. */
export function nextPage(link: string | string[] | undefined, base: URL, what: string): URL | undefined {
  for (const each of [link ?? []].flat()) {
    const m = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(each)
    if (m === null) continue
    let next: URL
    try {
      next = new URL(m[1] as string, base)
    } catch {
      throw new ImageError('REGISTRY_ERROR', `${what}: the next page has no address`)
    }
    if (next.host !== base.host)
      throw new ImageError('REGISTRY_ERROR', `${what}: the next page is on another host, ${next.host}`)
    // Behind a proxy some think that they are spoken to without TLS.
    return new URL(`${next.pathname}${next.search}`, base)
  }
  return undefined
}
