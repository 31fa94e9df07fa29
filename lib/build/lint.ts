/**
 * Owns `lamina lint`: the checks that the reference implementation has for Dockerfiles ("Build checks"), by its names,
 * so that `# check=skip=…` means the same here.
 * Invariant: pure; findings come in order of their lines; a file that does not parse has no findings but an error.
 */
import { BuildError, type Location } from './error.js'
import { expand } from './expand.js'
import type { Ignore } from './ignore.js'
import type { Dockerfile, From, Instruction, Stage } from './instruction.js'
import { platformArgs, PROXY_ARGS } from './scope.js'
import { HOST } from './platform.js'
import type { InstructionLine } from './syntax.js'

export const RULES = {
  StageNameCasing: 'Stage names should be lowercase',
  FromAsCasing: 'The AS keyword should match the case of the FROM keyword',
  NoEmptyContinuation: 'Empty continuation lines will become errors',
  ConsistentInstructionCasing: 'All instructions should use the same casing',
  DuplicateStageName: 'Stage names should be unique',
  ReservedStageName: 'Reserved words should not be used as stage names',
  JSONArgsRecommended: 'JSON arguments let ENTRYPOINT and CMD receive signals',
  MaintainerDeprecated: 'MAINTAINER is deprecated: use a label',
  UndefinedArgInFrom: 'FROM must use declared ARGs',
  WorkdirRelativePath: 'A relative WORKDIR depends on the base image',
  UndefinedVar: 'Variables should be defined before their use',
  MultipleInstructionsDisallowed: 'Only the last of these instructions in a stage counts',
  LegacyKeyValueFormat: 'The form "key value" is deprecated: write key=value',
  RedundantTargetPlatform: '--platform=$TARGETPLATFORM is the default',
  SecretsUsedInArgOrEnv: 'Secrets should not be in ARG or ENV',
  InvalidDefaultArgInFrom: 'The defaults of global ARGs should give a valid base name',
  FromPlatformFlagConstDisallowed: 'FROM --platform should not be a constant',
  CopyIgnoredFile: 'COPY of a file that the ignore file leaves out',
  InvalidDefinitionDescription: 'A comment above ARG or FROM should begin with its name',
  ExposeProtoCasing: 'The protocol of EXPOSE should be lowercase',
  ExposeInvalidFormat: 'EXPOSE should not name an address or a port of the host',
} as const

export type Rule = keyof typeof RULES

export interface Finding {
  readonly rule: Rule
  readonly message: string
  readonly location: Location
}

export interface LintResult {
  readonly findings: readonly Finding[]
  /** `# check=error=true`: findings fail a build. */
  readonly fails: boolean
}

/** On only when `# check=experimental=…` names them. */
const EXPERIMENTAL: ReadonlySet<Rule> = new Set(['InvalidDefinitionDescription'])

/** Names of the variables that an image sets, undefined when the image is not at hand. */
export type EnvOf = (reference: string) => readonly string[] | undefined

/** Checks a file. `ignore` is needed for CopyIgnoredFile only, `envOf` makes UndefinedVar exact. */
export function lint(file: Dockerfile, ignore?: Ignore, envOf: EnvOf = () => undefined): LintResult {
  const directive = readDirective(file)
  const linter = new Linter(file, ignore, envOf)
  linter.run()
  const findings = linter.findings
    .filter(({ rule }) => !directive.skip('all') && !directive.skip(rule))
    .filter(({ rule }) => !EXPERIMENTAL.has(rule) || directive.experimental(rule))
    .sort((a, b) => a.location.line - b.location.line)
  return { findings, fails: directive.fails }
}

function readDirective(file: Dockerfile): {
  skip(rule: string): boolean
  experimental(rule: string): boolean
  fails: boolean
} {
  const found = file.directives.find(d => d.name === 'check')
  const parts = new Map<string, string[]>()
  for (const part of (found?.value ?? '').split(';').filter(Boolean)) {
    const [key = '', value = ''] = part.split('=').map(s => s.trim())
    if (!['skip', 'error', 'experimental'].includes(key))
      throw new BuildError('DIRECTIVE', `unknown option "${key}" of the check directive`, {
        location: { line: found!.line, endLine: found!.line },
      })
    parts.set(
      key,
      value.split(',').map(s => s.trim()),
    )
  }
  return {
    skip: rule => parts.get('skip')?.includes(rule) ?? false,
    experimental: rule => parts.get('experimental')?.some(e => e === rule || e === 'all') ?? false,
    fails: parts.get('error')?.[0]?.toLowerCase() === 'true',
  }
}

class Linter {
  readonly findings: Finding[] = []
  readonly #file: Dockerfile
  readonly #ignore: Ignore | undefined
  readonly #envOf: EnvOf

  constructor(file: Dockerfile, ignore: Ignore | undefined, envOf: EnvOf) {
    this.#file = file
    this.#ignore = ignore
    this.#envOf = envOf
  }

  #say(rule: Rule, location: Location, message: string): void {
    this.findings.push({ rule, location, message })
  }

  run(): void {
    const { globalArgs, stages } = this.#file
    const lines = [...globalArgs.map(a => a.at), ...stages.flatMap(s => [s.from.at, ...s.instructions.map(i => i.at)])]
    this.#casing(lines)
    for (const line of lines)
      for (const empty of line.emptyContinuations)
        this.#say('NoEmptyContinuation', { line: empty, endLine: empty }, 'empty continuation line')
    for (const arg of globalArgs)
      for (const { key, value } of arg.pairs) {
        this.#secret(arg.at, 'ARG', key, value)
        this.#description(arg.at, key)
      }
    const names = new Set<string>()
    for (const stage of stages) {
      this.#from(stage, names)
      this.#stage(stage)
    }
  }

  #casing(lines: readonly InstructionLine[]): void {
    const upper = lines.filter(l => l.word === l.word.toUpperCase()).length
    const lower = lines.filter(l => l.word === l.word.toLowerCase()).length
    const toUpper = upper >= lower
    for (const line of lines) {
      const wanted = toUpper ? line.word.toUpperCase() : line.word.toLowerCase()
      if (line.word !== wanted)
        this.#say(
          'ConsistentInstructionCasing',
          line.at(),
          `"${line.word}" should be "${wanted}", as most instructions of the file are`,
        )
    }
  }

  #from({ from }: Stage, names: Set<string>): void {
    const location = from.at.at()
    const { writtenName, stageName, writtenAs } = from
    if (writtenName !== undefined && stageName !== undefined) {
      if (writtenName !== stageName)
        this.#say('StageNameCasing', location, `stage name "${writtenName}" should be lowercase`)
      if (['scratch', 'context'].includes(stageName))
        this.#say('ReservedStageName', location, `"${stageName}" is a reserved word`)
      if (names.has(stageName))
        this.#say('DuplicateStageName', location, `stage name "${stageName}" is used more than once`)
      names.add(stageName)
      this.#description(from.at, writtenName)
    }
    const upper = (word: string): boolean => word === word.toUpperCase()
    if (writtenAs !== undefined && upper(writtenAs) !== upper(from.at.word))
      this.#say('FromAsCasing', location, `"${writtenAs}" and "${from.at.word}" differ in casing`)
    this.#baseName(from)
    this.#platform(from)
  }

  #baseName(from: From): void {
    const known = new Map<string, string>(platformArgs(HOST))
    const declared = new Set<string>(known.keys())
    for (const arg of this.#file.globalArgs)
      for (const { key, value } of arg.pairs) {
        declared.add(key)
        const expanded = value === undefined ? undefined : this.#expand(value, name => known.get(name))?.value
        if (expanded !== undefined) known.set(key, expanded)
      }
    for (const text of [from.image, from.platform ?? '']) {
      const used = this.#expand(text, name => known.get(name))
      for (const name of used?.unset ?? [])
        if (!declared.has(name))
          this.#say('UndefinedArgInFrom', from.at.at(), `FROM uses "${name}", which no ARG declares`)
    }
    if (!from.image.includes('$')) return
    const value = this.#expand(from.image, name => known.get(name))?.value ?? ''
    if (value === '' || /^[:@/.-]|[:@/]$|[:@/]{2}|[A-Z]+.*\/|\s/.test(value))
      this.#say('InvalidDefaultArgInFrom', from.at.at(), `the defaults make "${from.image}" the base name "${value}"`)
  }

  #platform(from: From): void {
    const { platform } = from
    if (platform === undefined) return
    if (/^\$(TARGETPLATFORM|\{TARGETPLATFORM\})$/.test(platform))
      this.#say('RedundantTargetPlatform', from.at.at(), `--platform=${platform} is the default`)
    // A stage named for its platform is meant to be of it.
    const named = from.stageName?.includes(platform.split('/')[1] ?? platform)
    if (!platform.includes('$') && !named)
      this.#say('FromPlatformFlagConstDisallowed', from.at.at(), `--platform=${platform} is a constant`)
  }

  #stage(stage: Stage): void {
    const last = new Map<string, Instruction>()
    let shell = false
    let workdir = stage.from.image !== 'scratch' && this.#inheritsWorkdir(stage)
    const { names, certain } = this.#inherited(stage)
    const defined = new Set<string>(names)
    const once = ['CMD', 'ENTRYPOINT', 'HEALTHCHECK']
    for (const instruction of stage.instructions) {
      const { kind, at } = instruction
      if (once.includes(kind)) {
        const earlier = last.get(kind)
        if (earlier)
          this.#say('MultipleInstructionsDisallowed', earlier.at.at(), `a later ${kind} in this stage takes its place`)
        last.set(kind, instruction)
      }
      this.#variables(instruction, defined, certain)
      switch (kind) {
        case 'SHELL':
          shell = true
          break
        case 'CMD':
        case 'ENTRYPOINT':
          if (instruction.command.form === 'shell' && !shell && instruction.command.text !== '')
            this.#say(
              'JSONArgsRecommended',
              at.at(),
              `${kind} as a shell command does not receive signals: use a JSON array`,
            )
          break
        case 'MAINTAINER':
          this.#say('MaintainerDeprecated', at.at(), 'use LABEL org.opencontainers.image.authors=… instead')
          break
        case 'ENV':
        case 'LABEL':
          if (instruction.legacy) this.#say('LegacyKeyValueFormat', at.at(), `write ${kind} key=value`)
          if (kind === 'ENV')
            for (const { key, value } of instruction.pairs) {
              this.#secret(at, 'ENV', key, value)
              defined.add(key)
            }
          break
        case 'ARG':
          for (const { key, value } of instruction.pairs) {
            this.#secret(at, 'ARG', key, value)
            this.#description(at, key)
            defined.add(key)
          }
          break
        case 'WORKDIR': {
          const absolute = instruction.path.startsWith('/') || instruction.path.startsWith('$')
          if (!absolute && !workdir)
            this.#say(
              'WorkdirRelativePath',
              at.at(),
              `"${instruction.path}" depends on the base image: begin with an absolute one`,
            )
          workdir = true
          break
        }
        case 'EXPOSE':
          this.#expose(instruction)
          break
        case 'COPY':
        case 'ADD':
          if (kind === 'ADD' || instruction.source === undefined) this.#ignored(instruction)
          break
        default:
      }
    }
  }

  /** Stages built on stages of this file have what those set. */
  #inheritsWorkdir(stage: Stage): boolean {
    const base = this.#file.stages
      .slice(0, stage.index)
      .findLast(s => s.from.stageName === stage.from.image.toLowerCase())
    if (!base) return false
    return base.instructions.some(i => i.kind === 'WORKDIR') || this.#inheritsWorkdir(base)
  }

  /** Variables that the base sets; `certain` is false where the base is an image that is not at hand. */
  #inherited(stage: Stage): { names: readonly string[]; certain: boolean } {
    const { image } = stage.from
    if (image === 'scratch') return { names: ['PATH'], certain: true }
    const base = this.#file.stages.slice(0, stage.index).findLast(s => s.from.stageName === image.toLowerCase())
    if (!base) {
      const names = image.includes('$') ? undefined : this.#envOf(image)
      return { names: names ?? ['PATH'], certain: names !== undefined }
    }
    const own = base.instructions.flatMap(i => (i.kind === 'ENV' ? i.pairs.map(p => p.key) : []))
    const below = this.#inherited(base)
    return { names: [...below.names, ...own], certain: below.certain }
  }

  #variables(instruction: Instruction, defined: ReadonlySet<string>, certain: boolean): void {
    const unknown = new Set<string>()
    for (const text of expandedIn(instruction)) {
      const used = this.#expand(text, name => (defined.has(name) || PROXY_ARGS.includes(name) ? name : undefined))
      for (const name of used?.unset ?? []) unknown.add(name)
    }
    for (const name of unknown) {
      const near = [...defined].find(d => d.toLowerCase() === name.toLowerCase() || (d.length > 3 && near1(d, name)))
      // The base image may set it; a name that is nearly a known one is a mistake all the same.
      if (!certain && near === undefined) continue
      const offer = near === undefined ? '' : ` (did you mean $${near}?)`
      this.#say('UndefinedVar', instruction.at.at(), `$${name} is used and not defined${offer}`)
    }
  }

  #secret(at: InstructionLine, kind: string, key: string, value: string | undefined): void {
    const words = key.toLowerCase().split(/[_-]/)
    const secret = [
      'apikey',
      'auth',
      'credential',
      'credentials',
      'key',
      'password',
      'pword',
      'passwd',
      'secret',
      'token',
    ]
    const harmless = words.includes('public') || value === ''
    if (!harmless && words.some(w => secret.includes(w)))
      this.#say('SecretsUsedInArgOrEnv', at.at(), `${kind} "${key}" looks like a secret: use RUN --mount=type=secret`)
  }

  #description(at: InstructionLine, name: string): void {
    const comment = at.comments.at(-1)
    if (comment === undefined || comment === '' || comment.split(/\s/)[0] === name) return
    this.#say('InvalidDefinitionDescription', at.at(), `the comment above should be "# ${name} <description>"`)
  }

  #expose(instruction: Extract<Instruction, { kind: 'EXPOSE' }>): void {
    for (const port of instruction.ports) {
      const protocol = port.split('/')[1]
      if (protocol !== undefined && protocol !== protocol.toLowerCase() && !protocol.includes('$'))
        this.#say('ExposeProtoCasing', instruction.at.at(), `the protocol of "${port}" should be lowercase`)
      if (/^[^$]*:/.test(port))
        this.#say('ExposeInvalidFormat', instruction.at.at(), `"${port}" should name a port of the container only`)
    }
  }

  #ignored(instruction: Extract<Instruction, { kind: 'COPY' | 'ADD' }>): void {
    if (!this.#ignore) return
    for (const source of instruction.sources) {
      if (source.from !== 'path' || /[$*?[]|^https?:|^git@/.test(source.path)) continue
      const path = source.path
        .split('/')
        .filter(p => p !== '' && p !== '.')
        .join('/')
      if (path !== '' && this.#ignore.ignores(path) && this.#ignore.prunes(path))
        this.#say('CopyIgnoredFile', instruction.at.at(), `"${source.path}" is left out by the ignore file`)
    }
  }

  #expand(text: string, env: (name: string) => string | undefined): ReturnType<typeof expand> | undefined {
    try {
      return expand(text, { escape: this.#file.escape, env })
    } catch {
      // `${x:?}` of something unknown here: the build says so.
      return undefined
    }
  }
}

/** The texts of an instruction in which variables are replaced. */
function expandedIn(instruction: Instruction): string[] {
  switch (instruction.kind) {
    case 'COPY':
    case 'ADD':
      return [
        ...instruction.sources.flatMap(s => (s.from === 'path' ? [s.path] : [])),
        instruction.destination,
        instruction.chown ?? '',
        instruction.chmod ?? '',
      ]
    case 'ENV':
    case 'LABEL':
    case 'ARG':
      return instruction.pairs.map(p => p.value ?? '')
    case 'WORKDIR':
      return [instruction.path]
    case 'USER':
      return [instruction.user]
    case 'EXPOSE':
      return [...instruction.ports]
    case 'VOLUME':
      return [...instruction.paths]
    case 'STOPSIGNAL':
      return [instruction.signal]
    default:
      return []
  }
}

/** One letter too many, too few or other. */
function near1(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  const rest = (s: string, from: number): string => s.slice(from)
  return rest(a, i + 1) === rest(b, i + 1) || rest(a, i + 1) === rest(b, i) || rest(a, i) === rest(b, i + 1)
}
