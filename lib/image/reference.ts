/**
 * Owns image references: `[registry[:port]/]repository[:tag][@digest]`, with Docker's defaults
 * (distribution/reference grammar; docker.io, library/, latest).
 * Invariant: `format(parse(x))` is canonical: two references name the same image exactly when these are equal.
 */
import { type Digest, parseDigest } from '../digest.js'
import { ImageError } from './error.js'

export interface Reference {
  /** Host with port, as names show it: `docker.io`, `localhost:5000`. */
  readonly registry: string
  /** `library/debian`. */
  readonly repository: string
  /** undefined only when there is a digest. */
  readonly tag: string | undefined
  readonly digest: Digest | undefined
}

const DEFAULT_REGISTRY = 'docker.io'
const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const host = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/
const tagForm = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/

/** Reads a reference as a user types it. Throws ImageError REFERENCE_INVALID. */
export function parseReference(text: string): Reference {
  const invalid = (why: string): ImageError =>
    new ImageError('REFERENCE_INVALID', `reference ${text.slice(0, 300)}: ${why}`, { reference: text })
  let rest = text
  let digest: Digest | undefined
  const at = rest.indexOf('@')
  if (at >= 0) {
    digest = parseDigest(rest.slice(at + 1))
    if (digest === undefined) throw invalid('the digest is not sha256: and 64 hex digits')
    rest = rest.slice(0, at)
  }
  let tag: string | undefined
  const colon = rest.lastIndexOf(':')
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1)
    rest = rest.slice(0, colon)
    if (!tagForm.test(tag)) throw invalid('the tag is not 1 to 128 of A-Z a-z 0-9 _ . -')
  }
  let registry = DEFAULT_REGISTRY
  const slash = rest.indexOf('/')
  const first = slash < 0 ? '' : rest.slice(0, slash)
  if (first.includes('.') || first.includes(':') || first === 'localhost' || first !== first.toLowerCase()) {
    if (!host.test(first)) throw invalid(`${first} is no host name`)
    registry = first === 'index.docker.io' ? DEFAULT_REGISTRY : first
    rest = rest.slice(slash + 1)
  }
  if (registry === DEFAULT_REGISTRY && !rest.includes('/')) rest = `library/${rest}`
  if (rest.length > 255 || !rest.split('/').every(part => component.test(part)))
    throw invalid('a repository name is lower-case letters, digits and separators')
  if (tag === undefined && digest === undefined) tag = 'latest'
  return { registry, repository: rest, tag, digest }
}

/** The canonical form: `docker.io/library/debian:12`. */
export function formatReference(ref: Reference): string {
  return `${nameOf(ref)}${ref.tag === undefined ? '' : `:${ref.tag}`}${ref.digest === undefined ? '' : `@${ref.digest}`}`
}

/** Whether `text` can be a tag. */
export function isTag(text: string): boolean {
  return tagForm.test(text)
}

/** A reference without tag and digest, for those that mean all tags. Throws ImageError REFERENCE_INVALID. */
export function parseRepository(text: string): Pick<Reference, 'registry' | 'repository'> {
  const { registry, repository } = parseReference(text)
  if (text.includes('@') || text.lastIndexOf(':') > text.lastIndexOf('/'))
    throw new ImageError(
      'REFERENCE_INVALID',
      `reference ${text.slice(0, 300)}: all tags are meant, so none can be given`,
      {
        reference: text,
      },
    )
  return { registry, repository }
}

/** Registry and repository: `docker.io/library/debian`. */
export function nameOf(ref: Pick<Reference, 'registry' | 'repository'>): string {
  return `${ref.registry}/${ref.repository}`
}

/** The name as Docker shows it: without docker.io/ and library/. */
export function familiarName(name: string): string {
  if (name.startsWith('docker.io/library/')) return name.slice('docker.io/library/'.length)
  return name.startsWith('docker.io/') ? name.slice('docker.io/'.length) : name
}
