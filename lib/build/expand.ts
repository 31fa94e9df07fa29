/**
 * Owns word expansion: `$name`, `${name}` with every modifier of the Dockerfile reference ("Environment replacement"),
 * quotes, and the escape character.
 *
 *   ${v:-w} ${v-w}   w when v is empty or unset / unset       ${v#p} ${v##p}   shortest / longest prefix p removed
 *   ${v:+w} ${v+w}   w when v is not empty / is set           ${v%p} ${v%%p}   shortest / longest suffix p removed
 *   ${v:?w} ${v?w}   fails with w when empty or unset         ${v/p/r} ${v//p/r}   first / every p replaced by r
 *
 * Patterns know `*`, `?` and the escape character. Words nest: `${a:-${b:-c}}`.
 * Invariant: pure; the environment is a function, and nothing but it is asked.
 */
import { BuildError } from './error.js'

export type Escape = '\\' | '`'

export interface ExpandOptions {
  readonly escape: Escape
  readonly env: (name: string) => string | undefined
  /** Leave a reference to an unset variable as it is written. */
  readonly keepUnset?: boolean
  /** Keep quotes in the result. */
  readonly rawQuotes?: boolean
  /** Keep escape characters in the result. */
  readonly rawEscapes?: boolean
}

export interface Expanded {
  readonly value: string
  /** The value split at blanks that were neither quoted nor escaped. */
  readonly words: readonly string[] & string[]
  /** Variables that were asked for and not set, without a default of their own. */
  readonly unset: readonly string[]
  readonly used: readonly string[]
}

/** Expands `text`. Throws BuildError QUOTE or SUBSTITUTION (without a location: the caller knows it). */
export function expand(text: string, options: ExpandOptions): Expanded {
  const scan = new Expansion(text, options)
  const value = scan.until('', options.rawEscapes ?? false, true)
  scan.endWord()
  return { value, words: scan.words, unset: [...scan.unset], used: [...scan.used] }
}

class Expansion {
  readonly words: string[] = []
  readonly unset = new Set<string>()
  readonly used = new Set<string>()
  readonly #text: string
  readonly #options: ExpandOptions
  #at = 0
  #word: string | undefined

  constructor(text: string, options: ExpandOptions) {
    this.#text = text
    this.#options = options
  }

  /** Reads up to an unquoted `stop` (consumed), or to the end when it is ''. Words are collected at the outermost level. */
  until(stop: string, rawEscapes: boolean, collect: boolean): string {
    const { escape, rawQuotes } = this.#options
    let out = ''
    const put = (piece: string): void => {
      out += piece
      if (collect) this.#word = (this.#word ?? '') + piece
    }
    while (this.#at < this.#text.length) {
      const ch = this.#text[this.#at]!
      if (ch === stop) {
        this.#at++
        return out
      }
      if (ch === "'") {
        const inside = this.#singleQuoted()
        put(rawQuotes ? `'${inside}'` : inside)
      } else if (ch === '"') {
        const inside = this.#doubleQuoted(rawEscapes)
        put(rawQuotes ? `"${inside}"` : inside)
      } else if (ch === '$') {
        const value = this.#dollar()
        out += value
        if (collect) this.#splitInto(value)
      } else if (ch === escape) {
        this.#at++
        if (rawEscapes) put(escape)
        if (this.#at < this.#text.length) put(this.#text[this.#at++]!)
      } else if (collect && /\s/.test(ch)) {
        out += ch
        this.#at++
        this.endWord()
      } else {
        put(ch)
        this.#at++
      }
    }
    if (stop !== '') throw new BuildError('SUBSTITUTION', `malformed substitution: missing "${stop}"`)
    return out
  }

  endWord(): void {
    if (this.#word !== undefined) this.words.push(this.#word)
    this.#word = undefined
  }

  /** An unquoted variable's value is split at its blanks. */
  #splitInto(value: string): void {
    for (const piece of value.split(/(\s+)/)) {
      if (piece === '') continue
      if (/^\s/.test(piece)) this.endWord()
      else this.#word = (this.#word ?? '') + piece
    }
  }

  #singleQuoted(): string {
    const end = this.#text.indexOf("'", this.#at + 1)
    if (end < 0) throw new BuildError('QUOTE', 'unexpected end: a single quote is not closed')
    const inside = this.#text.slice(this.#at + 1, end)
    this.#at = end + 1
    return inside
  }

  #doubleQuoted(rawEscapes: boolean): string {
    const { escape } = this.#options
    let out = ''
    this.#at++
    while (this.#at < this.#text.length) {
      const ch = this.#text[this.#at]!
      if (ch === '"') {
        this.#at++
        return out
      }
      if (ch === '$') {
        out += this.#dollar()
      } else if (ch === escape) {
        const next = this.#text[this.#at + 1]
        if (next === undefined) break
        // Inside double quotes only these three can be escaped; before anything else the character is itself.
        const special = next === '"' || next === '$' || next === escape
        out += special && !rawEscapes ? next : escape + next
        this.#at += 2
      } else {
        out += ch
        this.#at++
      }
    }
    throw new BuildError('QUOTE', 'unexpected end: a double quote is not closed')
  }

  #dollar(): string {
    const start = this.#at++
    if (this.#text[this.#at] !== '{') {
      const name = this.#name()
      return name === '' ? '$' : this.#plain(name, start)
    }
    this.#at++
    const first = this.#text[this.#at]
    if (first === undefined) throw new BuildError('SUBSTITUTION', 'malformed substitution: missing "}"')
    const name = this.#name()
    if (name === '') throw new BuildError('SUBSTITUTION', `bad substitution: no name after "\${"`)
    const ch = this.#text[this.#at++]
    if (ch === undefined) throw new BuildError('SUBSTITUTION', 'malformed substitution: missing "}"')
    if (ch === '}') return this.#plain(name, start)
    if (ch === '/') return this.#replacement(name, start)
    return this.#modified(name, ch, start)
  }

  #plain(name: string, start: number): string {
    const value = this.#get(name)
    if (value !== undefined) return value
    this.unset.add(name)
    return this.#options.keepUnset ? this.#text.slice(start, this.#at) : ''
  }

  #get(name: string): string | undefined {
    this.used.add(name)
    return this.#options.env(name)
  }

  #name(): string {
    const rest = this.#text.slice(this.#at)
    const match = /^(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])/.exec(rest)
    this.#at += match?.[0].length ?? 0
    return match?.[0] ?? ''
  }

  #modified(name: string, first: string, start: number): string {
    const orEmpty = first === ':'
    const kind = orEmpty ? this.#text[this.#at++] : first
    const known = kind !== undefined && (orEmpty ? '-+?' : '-+?#%').includes(kind)
    if (!known)
      throw new BuildError('SUBSTITUTION', `unsupported modifier "${orEmpty ? ':' : ''}${kind ?? ''}" in substitution`)
    const trims = kind === '#' || kind === '%'
    const longest = trims && this.#text[this.#at] === kind
    if (longest) this.#at++
    const word = this.until('}', trims, false)
    const value = this.#get(name)
    if (value === undefined && this.#options.keepUnset) return this.#text.slice(start, this.#at)
    const missing = value === undefined || (orEmpty && value === '')
    switch (kind) {
      case '-':
        return missing ? word : value
      case '+':
        return missing ? '' : word
      case '?':
        if (!missing) return value
        throw new BuildError(
          'SUBSTITUTION',
          `${name}: ${word || (value === undefined ? 'is not allowed to be unset' : 'is not allowed to be empty')}`,
        )
      default: {
        if (value === undefined) {
          this.unset.add(name)
          return ''
        }
        const pattern = this.#pattern(word, longest)
        if (kind === '#') return value.replace(new RegExp(`^(?:${pattern})`, 's'), '')
        return trimEnd(value, new RegExp(`^(?:${this.#pattern(word, true)})$`, 's'), longest)
      }
    }
  }

  #replacement(name: string, start: number): string {
    const all = this.#text[this.#at] === '/'
    if (all) this.#at++
    const word = this.until('/', true, false)
    const by = this.until('}', false, false)
    const value = this.#get(name)
    if (value === undefined) {
      this.unset.add(name)
      return this.#options.keepUnset ? this.#text.slice(start, this.#at) : ''
    }
    if (word === '') return value
    return value.replace(new RegExp(this.#pattern(word, true), all ? 'gs' : 's'), () => by)
  }

  /** A shell pattern (`*`, `?`, escape) as the source of a regular expression. */
  #pattern(word: string, greedy: boolean): string {
    let out = ''
    for (let i = 0; i < word.length; i++) {
      const ch = word[i]!
      if (ch === this.#options.escape && i + 1 < word.length) out += quote(word[++i]!)
      else if (ch === '*') out += greedy ? '.*' : '.*?'
      else out += ch === '?' ? '.' : quote(ch)
    }
    return out
  }
}

function quote(ch: string): string {
  return /[\\^$.*+?()[\]{}|/]/.test(ch) ? `\\${ch}` : ch
}

/** Removes the longest or shortest end of `value` that `whole` matches: a regular expression alone searches from the left. */
function trimEnd(value: string, whole: RegExp, longest: boolean): string {
  for (let i = 0; i <= value.length; i++) {
    const at = longest ? i : value.length - i
    if (whole.test(value.slice(at))) return value.slice(0, at)
  }
  return value
}
