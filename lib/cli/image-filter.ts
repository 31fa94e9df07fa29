/** Owns `--filter` of images: which there are and what they mean (Docker's). */
import { createdAt, resolveImage, type StoredImage } from '../image/images.js'
import { familiarName, nameOf, parseReference } from '../image/reference.js'
import type { Store } from '../image/store.js'
import { RuntimeError } from '../runtime/error.js'
import { hasLabel, readFilters } from '../runtime/filters.js'
import { moment } from '../runtime/options.js'
import type { Prunable } from '../runtime/prune.js'

/** An image as the filters of prunes see it. */
export function asPrunable(image: StoredImage): Prunable {
  return { created: new Date(createdAt(image)).toISOString(), labels: labelsOf(image) }
}

function labelsOf(image: StoredImage): Readonly<Record<string, string>> {
  return image.config.config?.Labels ?? {}
}

/**
 * A test for an image and one of its names (undefined: it has none). Values of one key are alternatives, but those of
 * `label`; keys must all hold. Throws INVALID, and ImageError where `before` or `since` name no image.
 */
export function imageFilter(
  store: Store,
  filters: readonly string[],
): (image: StoredImage, name: string | undefined) => boolean {
  const byKey = readFilters(filters, ['dangling', 'reference', 'label', 'before', 'since', 'until'])
  const values = (key: string): string[] => byKey.get(key) ?? []
  const dangling = values('dangling').map(text => {
    if (!['true', 'false', '1', '0'].includes(text))
      throw new RuntimeError('INVALID', `--filter dangling=${text}: is neither true nor false`)
    return text === 'true' || text === '1'
  })
  const patterns = values('reference').map(matcher)
  const time = (key: string): number[] => values(key).map(name => createdAt(resolveImage(store, name)))
  const before = [...time('before'), ...values('until').map(text => moment('--filter until', text))]
  const since = time('since')
  return (image, name) =>
    (dangling.length === 0 || dangling.includes(name === undefined)) &&
    (patterns.length === 0 || (name !== undefined && patterns.some(matches => matches(name)))) &&
    values('label').every(wanted => hasLabel(labelsOf(image), wanted)) &&
    before.every(limit => createdAt(image) < limit) &&
    since.every(limit => createdAt(image) > limit)
}

/**
 * Whether a canonical name is what `reference=` asks for: a name with or without a tag, where `*`, `?` and `[…]` stand for
 * characters other than `/`. Names are compared as Docker shows them (`debian:12`) and in full.
 */
function matcher(pattern: string): (name: string) => boolean {
  const source = pattern.replace(/\[[^\]]+\]|[^]/g, part =>
    part === '*' ? '[^/]*' : part === '?' ? '[^/]' : part.length > 1 ? part : part.replace(/[\\^$.|+()[\]{}]/, '\\$&'),
  )
  let expression: RegExp
  try {
    expression = new RegExp(`^${source}$`)
  } catch {
    throw new RuntimeError('INVALID', `--filter reference=${pattern}: is no pattern`)
  }
  return name => {
    const whole = nameOf(parseReference(name))
    return [name, familiarName(name), whole, familiarName(whole)].some(form => expression.test(form))
  }
}
