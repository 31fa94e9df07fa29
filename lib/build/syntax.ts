/**
 * Owns the outermost syntax of a Dockerfile: text → parser directives and instruction lines (keyword, flags, the rest,
 * here-documents), each with the physical lines it came from.
 *
 * Why not an existing parser: here-documents decide where an instruction *ends*, so they cannot be repaired after the
 * fact, and the known parsers read their bodies as arguments or as further instructions. What is left, joining
 * continued lines, is below. (The tests hold it against `dockerfile-ast` wherever that one is right.)
 *
 * Format: Dockerfile reference, "Format", "Parser directives", "Here-documents".
 * Invariant: every character of a logical line knows the physical line and column it was written at.
 */
import { BuildError, type Location } from './error.js'
import { expand, type Escape } from './expand.js'

export interface Directive {
  readonly name: string
  readonly value: string
  readonly line: number
}

export interface Heredoc {
  /** The delimiter, unquoted. */
  readonly name: string
  /** The lines between, each with its newline; leading tabs already removed after `<<-`. */
  readonly body: string
  /** False when the delimiter was quoted: variables stay as they are. */
  readonly expand: boolean
  /** Whether `<<-` was used. */
  readonly chomp: boolean
  readonly line: number
}

/** One instruction, not yet understood. */
export interface InstructionLine {
  /** Upper case. */
  readonly keyword: string
  /** As written. */
  readonly word: string
  /** `--name` or `--name=value`, quotes removed, in order. */
  readonly flags: readonly Flag[]
  /** What follows the flags, continuations joined, blanks at both ends removed. */
  readonly rest: string
  readonly heredocs: readonly Heredoc[]
  readonly line: number
  readonly endLine: number
  /** Physical lines as written, newline between. */
  readonly source: string
  /** Comment lines directly above, without `#` and blanks. */
  readonly comments: readonly string[]
  /** Lines that are empty inside a continuation. */
  readonly emptyContinuations: readonly number[]
  /** The location of `length` characters from `offset` of `rest`; without arguments of the whole instruction. */
  at(offset?: number, length?: number): Location
}

export interface Flag {
  readonly name: string
  /** undefined: `--name` alone. */
  readonly value: string | undefined
  readonly location: Location
}

export interface Syntax {
  readonly escape: Escape
  readonly directives: readonly Directive[]
  readonly lines: readonly InstructionLine[]
}

const DIRECTIVES = new Set(['syntax', 'escape', 'check'])
const WITH_HEREDOC = new Set(['ADD', 'COPY', 'RUN'])

/** Reads a whole Dockerfile. Throws BuildError DIRECTIVE, HEREDOC, QUOTE; an empty file has no lines. */
export function parseSyntax(text: string): Syntax {
  const physical = text.replace(/^\uFEFF/, '').split('\n')
  const directives = parseDirectives(physical)
  const escape = (directives.find(d => d.name === 'escape')?.value ?? '\\') as Escape
  const continued = escape === '\\' ? /(^|[^\\])\\[ \t]*$/ : /(^|[^`])`[ \t]*$/
  const lines: InstructionLine[] = []
  let comments: string[] = []

  for (let i = 0; i < physical.length;) {
    const first = withoutReturn(physical[i]!)
    if (isComment(first)) {
      comments.push(first.trim().slice(1).trim())
      i++
      continue
    }
    if (first.trim() === '') {
      comments = []
      i++
      continue
    }
    const start = i
    const logical = new LogicalLine()
    const emptyContinuations: number[] = []
    let current = first
    for (;;) {
      const goesOn = continued.test(current)
      logical.add(goesOn ? current.replace(/.[ \t]*$/, '') : current, i + 1)
      i++
      if (!goesOn) break
      while (i < physical.length && (isComment(physical[i]!) || withoutReturn(physical[i]!).trim() === '')) {
        // The last newline of a file is no empty line.
        if (!isComment(physical[i]!) && i < physical.length - 1) emptyContinuations.push(i + 1)
        i++
      }
      if (i >= physical.length) break
      current = withoutReturn(physical[i]!)
    }
    const draft = split(logical, escape, start + 1, i)
    const heredocs: Heredoc[] = []
    for (const opening of openings(draft, escape)) {
      const body: string[] = []
      const from = i + 1
      for (;;) {
        if (i >= physical.length)
          throw new BuildError('HEREDOC', `here-document "${opening.name}" is not terminated`, {
            location: draft.at(opening.offset, opening.length),
          })
        const line = physical[i++]!
        const bare = withoutReturn(line)
        if ((opening.chomp ? bare.replace(/^\t+/, '') : bare) === opening.name) break
        body.push(`${opening.chomp ? line.replace(/^\t+/, '') : line}\n`)
      }
      heredocs.push({
        name: opening.name,
        body: body.join(''),
        expand: opening.expand,
        chomp: opening.chomp,
        line: from,
      })
    }
    lines.push({
      ...draft,
      heredocs,
      endLine: i,
      source: physical.slice(start, i).map(withoutReturn).join('\n').trimEnd(),
      comments,
      emptyContinuations,
    })
    comments = []
  }
  return { escape, directives, lines }
}

function parseDirectives(physical: string[]): Directive[] {
  const found: Directive[] = []
  for (const [i, raw] of physical.entries()) {
    const match = /^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/.exec(withoutReturn(raw))
    const name = match?.[1]?.toLowerCase()
    // Anything else, even a comment, ends the head of the file.
    if (name === undefined || !DIRECTIVES.has(name)) break
    const value = match![2]!
    const location: Location = { line: i + 1, endLine: i + 1 }
    if (found.some(d => d.name === name))
      throw new BuildError('DIRECTIVE', `only one ${name} parser directive can be used`, { location })
    if (name === 'escape' && value !== '\\' && value !== '`')
      throw new BuildError('DIRECTIVE', `invalid escape "${value}": it must be \` or \\`, { location })
    found.push({ name, value, line: i + 1 })
  }
  return found
}

function withoutReturn(line: string): string {
  return line.endsWith('\r') ? line.slice(0, -1) : line
}

function isComment(line: string): boolean {
  return /^[ \t]*#/.test(line)
}

/** Continued lines joined into one, with the way back. */
class LogicalLine {
  text = ''
  readonly #pieces: { start: number; line: number }[] = []

  add(content: string, line: number): void {
    this.#pieces.push({ start: this.text.length, line })
    this.text += content
  }

  place(offset: number): { line: number; column: number } {
    let piece = this.#pieces[0]!
    for (const next of this.#pieces) {
      if (next.start > offset) break
      piece = next
    }
    return { line: piece.line, column: offset - piece.start + 1 }
  }
}

type Draft = Pick<InstructionLine, 'keyword' | 'word' | 'flags' | 'rest' | 'line' | 'at'>

function split(logical: LogicalLine, escape: Escape, line: number, endLine: number): Draft {
  const text = logical.text
  const start = text.search(/\S/)
  const word = /^\S+/.exec(text.slice(start))?.[0] ?? ''
  const locate = (offset: number, length: number): Location => ({
    line,
    endLine,
    caret: { ...logical.place(offset), length: Math.max(1, length) },
  })
  let at = skipBlanks(text, start + word.length)
  const flags: Flag[] = []
  while (text.startsWith('--', at)) {
    const [raw, end] = flagWord(text, at, escape)
    if (raw === '--') {
      at = skipBlanks(text, end)
      break
    }
    const equals = raw.indexOf('=')
    flags.push({
      name: equals < 0 ? raw.slice(2) : raw.slice(2, equals),
      value: equals < 0 ? undefined : raw.slice(equals + 1),
      location: locate(at, end - at),
    })
    at = skipBlanks(text, end)
  }
  const rest = text.slice(at).trimEnd()
  return {
    keyword: word.toUpperCase(),
    word,
    flags,
    rest,
    line,
    at: (offset?: number, length?: number) =>
      offset === undefined ? locate(start, word.length) : locate(at + offset, length ?? rest.length - offset),
  }
}

function skipBlanks(text: string, at: number): number {
  while (at < text.length && /\s/.test(text[at]!)) at++
  return at
}

/** One flag from `at`: quotes group and vanish, the escape character takes the next one literally. */
function flagWord(text: string, at: number, escape: Escape): [string, number] {
  let out = ''
  let quote = ''
  for (; at < text.length; at++) {
    const ch = text[at]!
    if (quote === '' && /\s/.test(ch)) break
    if (ch === escape && quote !== "'" && at + 1 < text.length) out += text[++at]!
    else if (quote === '' && (ch === '"' || ch === "'")) quote = ch
    else if (ch === quote) quote = ''
    else out += ch
  }
  return [out, at]
}

interface Opening {
  name: string
  expand: boolean
  chomp: boolean
  offset: number
  length: number
}

/** The here-documents an instruction opens: words of the form `<<NAME`, `<<-NAME`, `3<<"NAME"`. */
function openings(draft: Draft, escape: Escape): Opening[] {
  const inner = draft.keyword === 'ONBUILD' ? /^\S+/.exec(draft.rest)?.[0].toUpperCase() : draft.keyword
  if (inner === undefined || !WITH_HEREDOC.has(inner) || !draft.rest.includes('<<')) return []
  let words: string[]
  try {
    words = expand(draft.rest, {
      escape,
      env: () => undefined,
      keepUnset: true,
      rawQuotes: true,
      rawEscapes: true,
    }).words
  } catch {
    // Not words in this language's sense (an odd quote in a shell command): then there are no here-documents in it.
    return []
  }
  const found: Opening[] = []
  let from = 0
  for (const word of words) {
    const match = /^\d*<<(-?)([^<]*)$/.exec(word)
    if (!match) continue
    const delimiter = match[2]!
    const plain = expand(delimiter, { escape, env: () => undefined, keepUnset: true })
    if (plain.words.length !== 1) continue
    const offset = Math.max(0, draft.rest.indexOf(word, from))
    from = offset + word.length
    found.push({
      name: plain.value,
      expand: plain.value === delimiter,
      chomp: match[1] === '-',
      offset,
      length: word.length,
    })
  }
  return found
}
