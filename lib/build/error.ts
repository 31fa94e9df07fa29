/**
 * Owns what a build says when it fails: `BuildError` with a stable code and the place in the Dockerfile, and the
 * excerpt with a caret that shows it.
 * Formats: lines and columns are counted from 1 in the text as the user wrote it; `length` is in UTF-16 units.
 * Invariant: a message is one line (verb, what, cause); the excerpt is made from the location, never part of it.
 */

/** Where in a Dockerfile: the physical lines of an instruction, and the part of it that is meant. */
export interface Location {
  /** First and last physical line of the instruction. */
  readonly line: number
  readonly endLine: number
  /** Where the caret stands; a whole instruction when absent. */
  readonly caret?: { readonly line: number; readonly column: number; readonly length: number }
}

/** The codes, by who raises them. They are part of the interface: tests, `--json` and scripts rely on them. */
export const BUILD_CODES = {
  // the language
  EMPTY: 'there is no instruction',
  DIRECTIVE: 'a parser directive is wrong',
  UNKNOWN_INSTRUCTION: 'the keyword is not an instruction',
  NO_STAGE: 'an instruction stands before the first FROM',
  ARGUMENTS: 'wrong number of arguments, or a blank one',
  KEY_VALUE: 'a key=value pair is malformed',
  JSON: 'a JSON array is required, or holds something else than strings',
  HEREDOC: 'a here-document does not end, or stands where it cannot',
  QUOTE: 'a quote is not closed',
  SUBSTITUTION: 'a ${…} is malformed, or its :? fails',
  FLAG: 'a flag is unknown or given twice',
  FLAG_VALUE: 'the value of a flag is wrong',
  MOUNT: 'a --mount is malformed',
  STAGE_NAME: 'a stage name is malformed',
  STAGE: 'a stage is not there, or not yet',
  PLATFORM: 'a platform is malformed, or cannot run here',
  PORT: 'a port is malformed',
  SIGNAL: 'there is no such signal',
  DURATION: 'a duration is malformed or out of range',
  ONBUILD: 'an instruction cannot be a trigger',
  BUILD_ARG: 'a build argument is malformed',
  // the context
  CONTEXT: 'the context or Dockerfile cannot be read',
  IGNORE: 'a pattern of the ignore file is malformed',
  SOURCE: 'a source of COPY or ADD is not there, or leads out of its tree',
  DESTINATION: 'the destination of COPY or ADD cannot be written',
  CHECKSUM: 'what was fetched is not what --checksum says',
  FETCH: 'a URL or git repository cannot be fetched',
  // the run
  BASE: 'a base image cannot be had',
  RUN: 'the command of a RUN ended with an error',
  SECRET: 'a required secret or ssh agent was not given',
  USER: 'a user or group is not in the image',
  SPACE: 'there is no space left',
  STORE: 'the store or cache cannot be read or written',
  CANCELLED: 'the build was interrupted',
  OUTPUT: 'the result cannot be written where --output says',
} as const

export type BuildCode = keyof typeof BUILD_CODES

/** A failed build. `location` and `file` are filled in by whoever knows the Dockerfile. */
export class BuildError extends Error {
  override readonly name = 'BuildError'
  readonly code: BuildCode
  location: Location | undefined
  /** The Dockerfile's name as the user gave it. */
  file: string | undefined
  /** What a program may want to know: digest, exit code, path, the state kept before the failure. */
  readonly context: Readonly<Record<string, string | number>>

  constructor(
    code: BuildCode,
    message: string,
    options: { location?: Location | undefined; cause?: unknown; context?: Record<string, string | number> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.location = options.location
    this.context = options.context ?? {}
  }
}

/** How many lines around the instruction an excerpt shows. */
const AROUND = 2

/**
 * The lines around `location` in `text`, numbered, the instruction's own marked with `>`, a caret line under the part
 * that is meant. Long instructions are shown whole up to 12 lines. No trailing newline.
 */
export function excerpt(text: string, location: Location): string {
  const lines = text.split('\n').map(line => line.replace(/\r$/, ''))
  const first = Math.max(1, location.line - AROUND)
  const shown = Math.min(location.endLine, Math.max(location.line + 11, location.caret?.line ?? 0))
  const last = Math.min(lines.length, shown + AROUND)
  const width = String(last).length
  const out: string[] = []
  for (let n = first; n <= last; n++) {
    const line = lines[n - 1] ?? ''
    if (n === last && n > location.endLine && line === '') break
    const inside = n >= location.line && n <= location.endLine
    out.push(`${inside ? '>' : ' '} ${String(n).padStart(width)} | ${line}`.trimEnd())
    if (location.caret?.line === n) out.push(`  ${' '.repeat(width)} | ${caretUnder(line, location.caret)}`)
  }
  return out.join('\n')
}

/** Tabs before the caret are kept, so that it stands right whatever the terminal's tab width is. */
function caretUnder(line: string, caret: { column: number; length: number }): string {
  const before = line.slice(0, caret.column - 1).replace(/[^\t]/g, ' ')
  const room = Math.max(1, line.length - caret.column + 1)
  return before + '^'.repeat(Math.max(1, Math.min(caret.length, room)))
}

/** `Dockerfile:3:5: message (CODE)` with the excerpt below: what the command line prints. */
export function explainError(error: BuildError, text: string | undefined): string {
  const at = error.location
  if (!at) return `${error.message} (${error.code})`
  const column = at.caret ? `:${at.caret.column}` : ''
  const head = `${error.file ?? 'Dockerfile'}:${at.caret?.line ?? at.line}${column}: ${error.message} (${error.code})`
  return text === undefined ? head : `${head}\n${excerpt(text, at)}`
}
