/**
 * Owns `.dockerignore`: which file counts, what its patterns say, and where a walk need not go.
 * Format: reference, ".dockerignore file"; pattern matching itself is @balena/dockerignore's. Patterns are text,
 * `/` separated, relative to the root of the context.
 * Invariant: `prunes(dir)` is true only when nothing below `dir` can be included again by a `!` pattern.
 */
import { readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createRequire } from 'node:module'
import { BuildError } from './error.js'

// The package's types describe an ES module's default export, its code is CommonJS: require says what it is.
const dockerignore = createRequire(import.meta.url)('@balena/dockerignore') as (options: { ignorecase: boolean }) => {
  add(patterns: string[]): { ignores(path: string): boolean }
}

export interface Ignore {
  /** Whether the file or directory at `path` (text, relative) is left out. */
  ignores(path: string): boolean
  /** Whether the walk can skip everything below the ignored directory `path`. */
  prunes(path: string): boolean
  readonly patterns: readonly string[]
}

export const IGNORE_NOTHING: Ignore = { ignores: () => false, prunes: () => false, patterns: [] }

/** Lines of an ignore file that say something. */
export function ignorePatterns(text: string): string[] {
  return text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .filter(line => !line.startsWith('#'))
    .map(line => line.trim())
    .filter(line => line !== '')
}

/** Throws BuildError IGNORE for a pattern that is none. */
export function ignoreOf(patterns: readonly string[]): Ignore {
  if (patterns.length === 0) return IGNORE_NOTHING
  for (const pattern of patterns) {
    if (pattern === '!') throw new BuildError('IGNORE', 'illegal exclusion pattern "!"')
    if (/(^|[^\\])(\\\\)*\[[^\]]*$/.test(pattern))
      throw new BuildError('IGNORE', `bad pattern "${pattern}": [ is not closed`)
  }
  const matcher = dockerignore({ ignorecase: false }).add([...patterns])
  const again = patterns.filter(p => p.startsWith('!')).map(p => parts(p.slice(1).trim()))
  return {
    patterns,
    ignores: path => path !== '' && matcher.ignores(path),
    prunes: path => !again.some(pattern => couldMatchBelow(pattern, parts(path))),
  }
}

function parts(path: string): string[] {
  return path.split('/').filter(p => p !== '' && p !== '.')
}

/** Whether some path below `directory` could match `pattern`, or a parent of it does. */
function couldMatchBelow(pattern: readonly string[], directory: readonly string[]): boolean {
  for (const [i, part] of directory.entries()) {
    const wanted = pattern[i]
    // The pattern ends above: it includes this directory with all that is in it.
    if (wanted === undefined || wanted.includes('**')) return true
    if (!component(wanted).test(part)) return false
  }
  return true
}

const components = new Map<string, RegExp>()

/** One path component as Go's filepath.Match reads it: `*`, `?`, `[a-z]`, `[^a]`, `\` escapes. */
export function component(pattern: string): RegExp {
  const known = components.get(pattern)
  if (known) return known
  let out = ''
  for (let i = 0; i < pattern.length; i++) {
    const ch = pattern[i]!
    if (ch === '*') out += '[^/]*'
    else if (ch === '?') out += '[^/]'
    else if (ch === '\\' && i + 1 < pattern.length) out += literal(pattern[++i]!)
    else if (ch === '[') {
      const end = pattern.indexOf(']', i + 2)
      if (end < 0) throw new BuildError('SOURCE', `bad pattern "${pattern}": [ is not closed`)
      const inside = pattern.slice(i + 1, end).replace(/[[\]]/g, '\\$&')
      out += `[${inside}]`
      i = end
    } else out += literal(ch)
  }
  const regexp = new RegExp(`^${out}$`, 's')
  components.set(pattern, regexp)
  return regexp
}

function literal(ch: string): string {
  return ch.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&')
}

/**
 * The ignore file of a build: `<Dockerfile>.dockerignore` beside the Dockerfile if there is one, else
 * `.dockerignore` in the context's root. `dockerfile` undefined: it did not come from a file.
 */
export function readIgnore(context: string, dockerfile: string | undefined): Ignore {
  const candidates = [join(context, '.dockerignore')]
  if (dockerfile !== undefined) candidates.unshift(join(dirname(dockerfile), `${basename(dockerfile)}.dockerignore`))
  for (const file of candidates) {
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') continue
      throw new BuildError('CONTEXT', `read ${file}: ${(error as Error).message}`, { cause: error })
    }
    return ignoreOf(ignorePatterns(text))
  }
  return IGNORE_NOTHING
}
