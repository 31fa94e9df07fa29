/**
 * Owns the step from lines to typed instructions: `parseDockerfile`.
 * Format: Dockerfile reference. Messages keep the reference implementation's meaning; codes are ours (error.ts).
 * Invariant: what it returns has the right number of arguments, only known flags with well-formed values (as far as
 * they hold no variable), and begins with FROM.
 */
import { BuildError, type BuildCode } from './error.js'
import type { Escape } from './expand.js'
import type {
  Arg,
  CommandForm,
  Dockerfile,
  FileSource,
  From,
  HealthCheck,
  Instruction,
  Pair,
  Run,
  Stage,
} from './instruction.js'
import { parseBoolean, parseChmod, parseDuration } from './quantity.js'
import { readMount, splitMount } from './run-mount.js'
import { parseSyntax, type InstructionLine } from './syntax.js'
import { jsonArray, splitBlanks, splitQuoted, type Word } from './words.js'

/** Keyword → the flags it takes. */
const FLAGS: Readonly<Record<string, readonly string[]>> = {
  FROM: ['platform'],
  RUN: ['mount', 'network', 'security'],
  COPY: ['from', 'chown', 'chmod', 'link', 'parents', 'exclude'],
  ADD: ['chown', 'chmod', 'link', 'exclude', 'checksum', 'keep-git-dir', 'unpack'],
  HEALTHCHECK: ['interval', 'timeout', 'start-period', 'start-interval', 'retries'],
  ARG: [],
  ENV: [],
  LABEL: [],
  WORKDIR: [],
  USER: [],
  EXPOSE: [],
  VOLUME: [],
  ENTRYPOINT: [],
  CMD: [],
  SHELL: [],
  STOPSIGNAL: [],
  ONBUILD: [],
  MAINTAINER: [],
}
const REPEATED = new Set(['mount', 'exclude'])

/** Parses the text of a Dockerfile. Throws the first BuildError, with `file` and `location` set. */
export function parseDockerfile(text: string, name = 'Dockerfile'): Dockerfile {
  try {
    const syntax = parseSyntax(text)
    const globalArgs: Arg[] = []
    const stages: (Stage & { readonly instructions: Instruction[] })[] = []
    for (const line of syntax.lines) {
      const parsed = parseInstruction(line, syntax.escape)
      const stage = stages.at(-1)
      if (parsed.kind === 'FROM') stages.push({ index: stages.length, from: parsed, instructions: [] })
      else if (stage) stage.instructions.push(parsed)
      else if (parsed.kind === 'ARG') globalArgs.push(parsed)
      else throw fail('NO_STAGE', line, `no build stage yet: ${line.keyword} stands before the first FROM`)
    }
    if (syntax.lines.length === 0) throw new BuildError('EMPTY', 'the Dockerfile holds no instruction')
    if (stages.length === 0)
      throw new BuildError('EMPTY', 'the Dockerfile holds no FROM', { location: syntax.lines.at(-1)!.at() })
    return { name, text, escape: syntax.escape, directives: syntax.directives, globalArgs, stages }
  } catch (error) {
    if (error instanceof BuildError) error.file ??= name
    throw error
  }
}

/** Parses an ONBUILD trigger of a base image; errors name `origin`. */
export function parseTrigger(text: string, origin: string): Instruction {
  try {
    const { lines, escape } = parseSyntax(text)
    const [line] = lines
    if (!line || lines.length !== 1) throw new BuildError('ONBUILD', `malformed trigger "${text}"`)
    const parsed = parseInstruction(line, escape)
    if (parsed.kind === 'FROM') throw new BuildError('ONBUILD', 'FROM is not allowed as an ONBUILD trigger')
    return parsed
  } catch (error) {
    if (error instanceof BuildError) error.file = origin
    throw error
  }
}

/** One line → its typed instruction. */
export function parseInstruction(line: InstructionLine, escape: Escape): From | Instruction {
  const known = Object.hasOwn(FLAGS, line.keyword) ? FLAGS[line.keyword]! : undefined
  if (!known) throw fail('UNKNOWN_INSTRUCTION', line, `unknown instruction: ${line.word}${suggestion(line.keyword)}`)
  const flags = readFlags(line, known)
  try {
    return typed(line, flags, escape)
  } catch (error) {
    // Whoever parses a value does not know where it stands.
    if (error instanceof BuildError) error.location ??= line.at()
    throw error
  }
}

function typed(line: InstructionLine, flags: Flags, escape: Escape): From | Instruction {
  const at = line
  switch (line.keyword) {
    case 'FROM':
      return parseFrom(line, flags)
    case 'ARG': {
      const words = needed(line, splitQuoted(line.rest, escape))
      return { kind: 'ARG', at, pairs: words.map(word => pair(line, word, true)) }
    }
    case 'ENV':
    case 'LABEL':
      return { kind: line.keyword, at, ...parsePairs(line, escape) }
    case 'RUN':
      return parseRun(line, flags)
    case 'COPY':
    case 'ADD':
      return parseFiles(line, flags, line.keyword)
    case 'WORKDIR':
      return { kind: 'WORKDIR', at, path: single(line) }
    case 'USER':
      return { kind: 'USER', at, user: single(line) }
    case 'STOPSIGNAL':
      return { kind: 'STOPSIGNAL', at, signal: single(line) }
    case 'MAINTAINER':
      return { kind: 'MAINTAINER', at, author: single(line) }
    case 'EXPOSE':
      return { kind: 'EXPOSE', at, ports: needed(line, splitBlanks(line.rest)).map(w => w.text) }
    case 'VOLUME': {
      const paths = list(line).map(w => w.text)
      if (paths.length === 0) throw fail('ARGUMENTS', line, 'VOLUME requires at least one argument')
      if (paths.some(p => p.trim() === '')) throw fail('ARGUMENTS', line, 'VOLUME paths cannot be blank')
      return { kind: 'VOLUME', at, paths }
    }
    case 'CMD':
    case 'ENTRYPOINT':
      return { kind: line.keyword, at, command: commandOf(line) }
    case 'SHELL': {
      const args = jsonArray(line.rest)
      if (!args) throw fail('JSON', line, 'SHELL requires its arguments as a JSON array of strings')
      if (args.length === 0) throw fail('ARGUMENTS', line, 'SHELL requires at least one argument')
      return { kind: 'SHELL', at, args }
    }
    case 'HEALTHCHECK':
      return parseHealthCheck(line, flags)
    case 'ONBUILD':
      return parseOnBuild(line, escape)
    default:
      throw fail('UNKNOWN_INSTRUCTION', line, `unknown instruction: ${line.word}`)
  }
}

function parseFrom(line: InstructionLine, flags: Flags): From {
  const words = splitBlanks(line.rest)
  const [image, as, name] = words
  if (!image || (words.length !== 1 && (words.length !== 3 || as!.text.toLowerCase() !== 'as')))
    throw fail('ARGUMENTS', line, 'FROM requires either one or three arguments: FROM image [AS name]')
  const stageName = name?.text.toLowerCase()
  if (name && !/^[a-z][a-z0-9._-]*$/.test(stageName!))
    throw fail(
      'STAGE_NAME',
      line,
      `invalid stage name "${name.text}": it starts with a letter and holds letters, digits, ".", "_" and "-"`,
      name,
    )
  return {
    kind: 'FROM',
    at: line,
    image: image.text,
    platform: flags.one('platform'),
    stageName,
    writtenName: name?.text,
    writtenAs: as?.text,
  }
}

function parsePairs(line: InstructionLine, escape: Escape): { pairs: Pair[]; legacy: boolean } {
  const words = needed(line, splitQuoted(line.rest, escape))
  const first = words[0]!
  if (!first.text.includes('=')) {
    const rest = line.rest.slice(first.length).trim()
    if (rest === '') throw fail('ARGUMENTS', line, `${line.keyword} must have two arguments`)
    return { pairs: [{ key: first.text, value: rest }], legacy: true }
  }
  return { pairs: words.map(word => pair(line, word, false)), legacy: false }
}

function pair(line: InstructionLine, word: Word, bare: boolean): Pair {
  const equals = word.text.indexOf('=')
  if (equals < 0 && !bare)
    throw fail('KEY_VALUE', line, `cannot find "=" in "${word.text}": it must be of the form name=value`, word)
  if (equals === 0) throw fail('ARGUMENTS', line, `${line.keyword} names cannot be blank`, word)
  return equals < 0
    ? { key: word.text, value: undefined }
    : { key: word.text.slice(0, equals), value: word.text.slice(equals + 1) }
}

function parseRun(line: InstructionLine, flags: Flags): Run {
  if (line.rest === '') throw fail('ARGUMENTS', line, 'RUN requires at least one argument')
  const command = commandOf(line)
  if (command.form === 'exec' && command.args.length === 0)
    throw fail('ARGUMENTS', line, 'RUN requires at least one argument')
  if (command.form === 'exec' && line.heredocs.length > 0)
    throw fail('HEREDOC', line, 'a here-document needs the shell form of RUN')
  const mounts = flags.located('mount').map(({ value, location }) => {
    try {
      const flag = splitMount(value)
      // With a variable in it, it can only be checked when that is known.
      if (!value.includes('$')) readMount(flag, v => v)
      return flag
    } catch (error) {
      if (error instanceof BuildError) error.location ??= location
      throw error
    }
  })
  return {
    kind: 'RUN',
    at: line,
    command,
    heredocs: line.heredocs,
    mounts,
    network: flags.among('network', ['default', 'none', 'host'], 'default'),
    security: flags.among('security', ['sandbox', 'insecure'], 'sandbox'),
  }
}

function parseFiles(line: InstructionLine, flags: Flags, kind: 'COPY' | 'ADD'): Instruction {
  const words = list(line)
  if (words.length === 0) throw fail('ARGUMENTS', line, `${kind} requires at least two arguments`)
  if (words.length === 1)
    throw fail('ARGUMENTS', line, `${kind} requires at least two arguments: the destination is missing`)
  const destination = words.at(-1)!
  const heredocs = [...line.heredocs]
  const sources = words.slice(0, -1).map((word): FileSource => {
    if (/^\d*<<-?[^<]/.test(word.text) && heredocs.length > 0) return { from: 'heredoc', heredoc: heredocs.shift()! }
    return { from: 'path', path: word.text }
  })
  if (heredocs.length > 0)
    throw fail('HEREDOC', line, `${kind} cannot take a here-document as its destination`, destination)
  const chmod = flags.one('chmod')
  if (chmod !== undefined && !chmod.includes('$')) flags.inside('chmod', () => parseChmod(chmod))
  const common = {
    at: line,
    sources,
    destination: destination.text,
    chown: flags.one('chown'),
    chmod,
    link: flags.on('link'),
    exclude: flags.many('exclude'),
  }
  if (kind === 'COPY') return { kind, ...common, source: flags.one('from'), parents: flags.on('parents') }
  const checksum = flags.one('checksum')
  if (
    checksum !== undefined &&
    !checksum.includes('$') &&
    !/^(sha256:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{64})$/.test(checksum)
  )
    flags.inside('checksum', () => {
      throw new BuildError(
        'FLAG_VALUE',
        `invalid checksum "${checksum}": write sha256:<64 hex digits>, or a git commit`,
      )
    })
  return {
    kind,
    ...common,
    checksum,
    keepGitDir: flags.on('keep-git-dir'),
    unpack: flags.has('unpack') ? flags.on('unpack') : undefined,
  }
}

function parseHealthCheck(line: InstructionLine, flags: Flags): HealthCheck {
  const [type] = splitBlanks(line.rest)
  if (!type) throw fail('ARGUMENTS', line, 'HEALTHCHECK requires at least one argument: NONE or CMD')
  const duration = (flag: string): number | undefined => {
    const value = flags.one(flag)
    if (value === undefined) return undefined
    return flags.inside(flag, () => {
      const ns = parseDuration(value)
      if (ns !== 0 && ns < 1e6) throw new BuildError('DURATION', `--${flag} cannot be less than 1ms`)
      return ns
    })
  }
  const none = { kind: 'HEALTHCHECK', at: line } as const
  const rest = line.rest.slice(type.length).trim()
  if (type.text.toUpperCase() === 'NONE') {
    if (rest !== '') throw fail('ARGUMENTS', line, 'HEALTHCHECK NONE takes no arguments')
    const unset = undefined
    return {
      ...none,
      command: unset,
      interval: unset,
      timeout: unset,
      startPeriod: unset,
      startInterval: unset,
      retries: unset,
    }
  }
  if (type.text.toUpperCase() !== 'CMD')
    throw fail('ARGUMENTS', line, `unknown type "${type.text}" in HEALTHCHECK: it is NONE or CMD`, type)
  if (rest === '') throw fail('ARGUMENTS', line, 'HEALTHCHECK CMD needs a command')
  const retries = flags.one('retries')
  if (retries !== undefined && !/^\d+$/.test(retries))
    flags.inside('retries', () => {
      throw new BuildError('FLAG_VALUE', `--retries must be a number of at least 0, not "${retries}"`)
    })
  const args = jsonArray(rest)
  return {
    ...none,
    command: args ? { form: 'exec', args } : { form: 'shell', text: rest },
    interval: duration('interval'),
    timeout: duration('timeout'),
    startPeriod: duration('start-period'),
    startInterval: duration('start-interval'),
    retries: retries === undefined ? undefined : Number(retries),
  }
}

function parseOnBuild(line: InstructionLine, escape: Escape): Instruction {
  const [inner] = splitBlanks(line.rest)
  if (!inner) throw fail('ARGUMENTS', line, 'ONBUILD requires at least one argument')
  const keyword = inner.text.toUpperCase()
  if (keyword === 'ONBUILD') throw fail('ONBUILD', line, 'ONBUILD cannot hold another ONBUILD', inner)
  if (keyword === 'FROM' || keyword === 'MAINTAINER')
    throw fail('ONBUILD', line, `${keyword} is not allowed as an ONBUILD trigger`, inner)
  const trigger = [line.rest, ...line.heredocs.map(h => h.body + h.name)].join('\n')
  // What is wrong in a trigger is said here, not to whoever builds on this image.
  const [parsed] = parseSyntax(`${escape === '\\' ? '' : '# escape=`\n'}${trigger}`).lines
  parseInstruction({ ...parsed!, at: (offset, length) => line.at(offset ?? 0, length ?? inner.length) }, escape)
  return { kind: 'ONBUILD', at: line, trigger }
}

function commandOf(line: InstructionLine): CommandForm {
  const args = json(line)
  return args ? { form: 'exec', args } : { form: 'shell', text: line.rest }
}

/** A JSON array, or words between blanks. */
function list(line: InstructionLine): Word[] {
  const args = json(line)
  return args ? args.map(text => ({ text, offset: 0, length: line.rest.length })) : splitBlanks(line.rest)
}

function json(line: InstructionLine): string[] | undefined {
  try {
    return jsonArray(line.rest)
  } catch (error) {
    if (error instanceof BuildError) error.location = line.at(0)
    throw error
  }
}

function single(line: InstructionLine): string {
  if (line.rest === '') throw fail('ARGUMENTS', line, `${line.keyword} requires exactly one argument`)
  return line.rest
}

function needed(line: InstructionLine, words: Word[]): Word[] {
  if (words.length === 0) throw fail('ARGUMENTS', line, `${line.keyword} requires at least one argument`)
  return words
}

function fail(code: BuildCode, line: InstructionLine, message: string, word?: Word): BuildError {
  return new BuildError(code, message, { location: word ? line.at(word.offset, word.length) : line.at() })
}

/** The nearest keyword, if one is within two edits. */
function suggestion(keyword: string): string {
  let best = ''
  let least = 3
  for (const known of Object.keys(FLAGS)) {
    const distance = edits(keyword, known)
    if (distance < least) [best, least] = [known, distance]
  }
  return best === '' ? '' : ` (did you mean ${best}?)`
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}

type Flags = ReturnType<typeof readFlags>

/** Checks a line's flags against the known ones and offers them by kind. */
function readFlags(line: InstructionLine, known: readonly string[]) {
  const seen = new Set<string>()
  for (const flag of line.flags) {
    if (!known.includes(flag.name)) {
      const offer = known.length > 0 ? ` (it has --${known.join(', --')})` : ' (it has none)'
      throw new BuildError('FLAG', `unknown flag --${flag.name} for ${line.keyword}${offer}`, {
        location: flag.location,
      })
    }
    if (seen.has(flag.name) && !REPEATED.has(flag.name))
      throw new BuildError('FLAG', `--${flag.name} is given twice`, { location: flag.location })
    seen.add(flag.name)
  }
  const found = (name: string) => line.flags.filter(f => f.name === name)
  const valueOf = (flag: InstructionLine['flags'][number]): string => {
    if (flag.value === undefined || flag.value === '')
      throw new BuildError('FLAG_VALUE', `--${flag.name} needs a value`, { location: flag.location })
    return flag.value
  }
  /** Runs a parser of the flag's value; its errors get the flag's location. */
  const inside = <T>(name: string, parse: () => T): T => {
    try {
      return parse()
    } catch (error) {
      if (error instanceof BuildError) error.location ??= found(name)[0]?.location
      throw error
    }
  }
  return {
    inside,
    has: (name: string): boolean => seen.has(name),
    located: (name: string) => found(name).map(f => ({ value: valueOf(f), location: f.location })),
    many: (name: string): string[] => found(name).map(valueOf),
    one: (name: string): string | undefined => found(name).map(valueOf)[0],
    on: (name: string): boolean => {
      const [flag] = found(name)
      return flag !== undefined && inside(name, () => parseBoolean(name, flag.value ?? 'true'))
    },
    among: <T extends string>(name: string, choices: readonly T[], preset: T): T => {
      const [flag] = found(name)
      if (!flag) return preset
      const value = valueOf(flag)
      const choice = choices.find(c => c === value)
      if (choice) return choice
      throw new BuildError('FLAG_VALUE', `--${name} is ${choices.join(' or ')}, not "${value}"`, {
        location: flag.location,
      })
    },
  }
}
