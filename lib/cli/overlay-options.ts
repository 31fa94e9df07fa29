/**
 * Owns the option string of overlay mounts (`-o lowerdir=a:b,upperdir=u,workdir=w`), as the kernel's overlayfs and
 * fuse-overlayfs take it: options are separated by `,`, lowers by `:`, topmost first; a backslash takes the next
 * character as it is (`\:` `\,` `\\`), in every path.
 * Invariant: an option that is not honoured is refused by name, except those that ask for what Lamina always does.
 */
import { UsageError } from './command.js'

export interface OverlayOptions {
  /** Topmost first. */
  readonly lower: readonly string[]
  readonly upper: string | undefined
  readonly work: string | undefined
  readonly readOnly: boolean
  readonly volatile: boolean
}

/** What overlayfs calls its features: always on here, so asking for them is fine and refusing them is not possible. */
const alwaysOn: ReadonlyMap<string, readonly string[]> = new Map([
  ['redirect_dir', ['on', 'follow']],
  ['metacopy', ['on']],
  ['index', ['on']],
  ['xino', ['on', 'auto']],
])

/** Words without value that say what holds anyway. */
const granted = new Set(['rw', 'allow_other', 'default_permissions', 'noatime', 'relatime', 'suid', 'dev', 'exec'])

/** Parses the strings of all `-o`, joined in their order. Throws UsageError naming the option that is wrong. */
export function parseOverlayOptions(texts: readonly string[]): OverlayOptions {
  let lower: readonly string[] = []
  let upper: string | undefined
  let work: string | undefined
  let readOnly = false
  let volatile = false
  for (const option of texts.flatMap(text => split(text, ','))) {
    if (option === '') continue
    const equals = option.indexOf('=')
    const name = equals < 0 ? option : option.slice(0, equals)
    const value = equals < 0 ? undefined : option.slice(equals + 1)
    if (name === 'lowerdir') lower = lowers(path(name, value))
    else if (name === 'upperdir') upper = unescape(path(name, value))
    else if (name === 'workdir') work = unescape(path(name, value))
    else if (value === undefined && name === 'ro') readOnly = true
    else if (value === undefined && name === 'volatile') volatile = true
    else if (value === undefined && granted.has(name)) continue
    else if (value !== undefined && alwaysOn.get(name)?.includes(value) === true) continue
    else if (alwaysOn.has(name)) throw new UsageError(`mount option '${option}': ${name} is always on`)
    else throw new UsageError(`unknown mount option '${option}'`)
  }
  return { lower, upper, work, readOnly, volatile }
}

function path(name: string, value: string | undefined): string {
  if (value === undefined || value === '') throw new UsageError(`mount option ${name} needs a directory`)
  return value
}

function lowers(value: string): string[] {
  if (value.includes('::')) throw new UsageError('mount option lowerdir: data-only lowers (::) are not supported')
  return split(value, ':').map(part => {
    if (part === '') throw new UsageError('mount option lowerdir: a directory name is empty')
    return unescape(part)
  })
}

/** Splits at `separator` unless a backslash stands before it; the parts stay escaped. */
function split(text: string, separator: ',' | ':'): string[] {
  const parts = ['']
  for (let i = 0; i < text.length; i++) {
    const char = text[i] as string
    if (char === separator) parts.push('')
    else parts[parts.length - 1] += char === '\\' ? char + (text[++i] ?? '') : char
  }
  return parts
}

function unescape(text: string): string {
  return text.replace(/\\(.)/gs, '$1')
}
