/** Owns choosing from a multi-platform index: `os/architecture[/variant]`, this machine's by default. */
import { ImageError } from './error.js'
import { type Descriptor, hostPlatform, type Index } from './manifest.js'

interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

/** Reads `linux/arm64/v8`; `arm64` alone means linux/arm64. Throws ImageError REFERENCE_INVALID. */
export function parsePlatform(text: string | undefined): Platform {
  if (text === undefined) return hostPlatform()
  const parts = text.split('/')
  if (parts.length > 3 || parts.some(p => !/^[a-z0-9._-]+$/i.test(p)))
    throw new ImageError('REFERENCE_INVALID', `platform ${text}: not os/architecture[/variant]`)
  const [first = '', second, variant] = parts
  if (second === undefined) return { os: 'linux', architecture: alias(first) }
  return { os: first, architecture: alias(second), ...(variant === undefined ? {} : { variant }) }
}

function alias(architecture: string): string {
  const names: Record<string, string> = { x86_64: 'amd64', aarch64: 'arm64', i386: '386' }
  return names[architecture] ?? architecture
}

/**
 * The descriptor for `platform`; `usable` excludes what cannot be had. An index of one entry without a platform is that
 * entry. Throws ImageError PLATFORM_MISSING, with what there is.
 */
export function selectPlatform(
  index: Index,
  platform: string | undefined,
  usable: (d: Descriptor) => boolean = () => true,
): Descriptor {
  const want = parsePlatform(platform)
  const candidates = index.manifests.filter(usable)
  const matching = candidates.filter(d => d.platform?.os === want.os && d.platform.architecture === want.architecture)
  const exact = matching.find(d => d.platform?.variant === want.variant)
  const found =
    exact ??
    (platform?.split('/').length === 3 ? undefined : matching[0]) ??
    (candidates.length === 1 && candidates[0]?.platform === undefined ? candidates[0] : undefined)
  if (found !== undefined) return found
  const there = candidates.flatMap(d =>
    d.platform && d.platform.os !== 'unknown'
      ? [[d.platform.os, d.platform.architecture, d.platform.variant].filter(Boolean).join('/')]
      : [],
  )
  const wanted = [want.os, want.architecture, want.variant].filter(Boolean).join('/')
  throw new ImageError(
    'PLATFORM_MISSING',
    `select platform ${wanted}: the image has ${there.join(', ') || 'none that says so'}`,
  )
}
