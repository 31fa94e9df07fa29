import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { DockerfileParser } from 'dockerfile-ast'
import { parseDockerfile } from '../../lib/build/dockerfile.js'
import { BuildError, explainError } from '../../lib/build/error.js'
import { parseSyntax, type InstructionLine } from '../../lib/build/syntax.js'
import { wrong } from './wrong.js'

const golden = new URL('../../../test/build/language/', import.meta.url)
const names = readdirSync(golden)
  .filter(f => f.endsWith('.dockerfile'))
  .map(f => f.slice(0, -'.dockerfile'.length))

/** A parsed file as plain data: each instruction's line becomes its numbers. */
function dump(text: string): unknown {
  const { directives, globalArgs, stages } = parseDockerfile(text)
  const replacer = (key: string, value: unknown): unknown => {
    if (key === 'at') {
      const line = value as InstructionLine
      return { line: line.line, endLine: line.endLine, comments: line.comments, empty: line.emptyContinuations }
    }
    return value
  }
  return JSON.parse(JSON.stringify({ directives, globalArgs, stages }, replacer))
}

t.test('every text of the corpus parses to its golden', async t => {
  t.ok(names.length >= 13)
  for (const name of names) {
    const found = dump(readFileSync(new URL(`${name}.dockerfile`, golden), 'utf8'))
    const file = new URL(`${name}.json`, golden)
    // After an intended change: UPDATE_GOLDEN=1, then read the difference before committing it.
    if (process.env['UPDATE_GOLDEN']) writeFileSync(file, `${JSON.stringify(found, undefined, 2)}\n`)
    t.strictSame(found, JSON.parse(readFileSync(file, 'utf8')), name)
  }
})

t.test('where another parser is right, instructions, lines and flags agree with it', async t => {
  // It reads here-document bodies as arguments or instructions, and drops the head after a byte order mark.
  const comparable = names.filter(name => !['heredoc', 'onbuild', 'bom-crlf', 'odd-layout'].includes(name))
  for (const name of comparable) {
    const text = readFileSync(new URL(`${name}.dockerfile`, golden), 'utf8')
    const theirs = DockerfileParser.parse(text)
      .getInstructions()
      .map(i => `${i.getRange().start.line + 1} ${i.getKeyword()}`)
    const ours = parseSyntax(text).lines.map(line => `${line.line} ${line.keyword}`)
    t.strictSame(ours, theirs, name)
  }
})

t.test('wrong files are refused with code, line, column and message', async t => {
  t.ok(wrong.length >= 40, `${wrong.length} wrong files`)
  for (const [text, code, place, message] of wrong) {
    let error: unknown
    try {
      parseDockerfile(text, 'Dockerfile')
    } catch (caught) {
      error = caught
    }
    if (!(error instanceof BuildError)) {
      t.fail(`accepted, or failed otherwise: ${JSON.stringify(text)} ${String(error)}`)
      continue
    }
    const at = error.location
    const found = at ? `${at.caret?.line ?? at.line}:${at.caret?.column ?? 0}` : ''
    t.strictSame([error.code, found], [code, place], JSON.stringify(text))
    t.match(error.message, message, JSON.stringify(text))
    t.notMatch(error.message, /\n/, 'one line')
  }
})

t.test('an error is shown with the lines around it and a caret under the part that is meant', async t => {
  const text =
    'FROM scratch\nRUN a\n\nRUN --mount=type=cache,target=/x \\\n\t--mount=type=nonsense,target=/y \\\n\ttrue\nCMD x\n'
  try {
    parseDockerfile(text, 'sub/Dockerfile')
    t.fail('accepted')
  } catch (error) {
    t.equal(
      explainError(error as BuildError, text),
      [
        'sub/Dockerfile:5:2: invalid mount "type=nonsense,target=/y": there is no mount type "nonsense" (MOUNT)',
        '  2 | RUN a',
        '  3 |',
        '> 4 | RUN --mount=type=cache,target=/x \\',
        '> 5 | \t--mount=type=nonsense,target=/y \\',
        '    | \t^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^',
        '> 6 | \ttrue',
        '  7 | CMD x',
      ].join('\n'),
    )
  }
})
