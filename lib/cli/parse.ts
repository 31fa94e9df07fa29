/**
 * Owns the command line's syntax, as Docker has it (getopt_long with GNU permutation): `--name value`, `--name=value`,
 * `--flag`, `--flag=false`, `--no-flag`, `-n value`, `-nvalue`, clusters `-it`, `--` ends options, `-` is a positional.
 * It reads a command's option table (yargs's `Options`: alias, type, array, choices, default, demandOption, conflicts,
 * coerce) directly: yargs itself costs more than the rest of the start-up together, and yargs-parser strips quotes from
 * values and reads `-p8080:80` as five flags.
 * Invariant: strict. What is not in the table is a UsageError, never a guess.
 */
import type { Options } from 'yargs'
import { UsageError, type Command, type OptionTable } from './command.js'
import { didYouMean } from './suggest.js'

interface Option {
  readonly name: string
  readonly spec: Options
  readonly takesValue: boolean
}

/** Parses what follows the verb. Returns the handler's args, or throws UsageError. With `help`, only that it was asked for. */
export function parse(command: Command, argv: readonly string[], globals: OptionTable = {}): Record<string, unknown> {
  const table = { ...globals, ...command.builder }
  const options = byName(table)
  const values = new Map<string, unknown>()
  const words: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string
    if (word === '--') {
      words.push(...argv.slice(i + 1))
      break
    }
    if (!word.startsWith('-') || word === '-') {
      words.push(...(command.optionsFirst === true ? argv.slice(i) : [word]))
      if (command.optionsFirst === true) break
    } else if (word.startsWith('--')) {
      i = long(word, argv, i, options, values)
    } else {
      i = cluster(word, argv, i, options, values)
    }
  }
  if (values.get('help') === true) return { help: true }
  for (const [name, spec] of Object.entries(table)) {
    if (!values.has(name) && spec.default !== undefined) values.set(name, spec.default)
    if (!values.has(name) && spec.demandOption) throw new UsageError(`option --${name} is required`)
  }
  checkConflicts(table, values)
  const args = Object.fromEntries([...values].map(([name, value]) => [camel(name), value]))
  return Object.assign(args, positionals(command, words))
}

function byName(table: OptionTable): Map<string, Option> {
  const options = new Map<string, Option>()
  for (const [name, spec] of Object.entries(table)) {
    const option = { name, spec, takesValue: spec.type !== 'boolean' && spec.type !== 'count' }
    for (const n of [name, ...[spec.alias ?? []].flat()]) options.set(n, option)
  }
  return options
}

/** Reads `--…` at argv[i]; returns the index of the last word used. */
function long(
  word: string,
  argv: readonly string[],
  i: number,
  options: Map<string, Option>,
  values: Map<string, unknown>,
): number {
  const equals = word.indexOf('=')
  const name = equals < 0 ? word.slice(2) : word.slice(2, equals)
  const given = equals < 0 ? undefined : word.slice(equals + 1)
  const option = name.length > 1 ? options.get(name) : undefined
  if (option === undefined) {
    const negated = name.startsWith('no-') ? options.get(name.slice(3)) : undefined
    if (negated?.spec.type !== 'boolean' || given !== undefined) throw unknownOption(`--${name}`, options)
    values.set(negated.name, false)
    return i
  }
  if (!option.takesValue) {
    flag(option, given, `--${name}`, values)
    return i
  }
  if (given !== undefined) {
    store(option, given, `--${name}`, values)
    return i
  }
  // A value that may be left out is given with `=` only.
  if (option.spec.requiresArg === false) {
    store(option, '', `--${name}`, values)
    return i
  }
  if (i + 1 >= argv.length) throw new UsageError(`option --${name} needs a value`)
  store(option, argv[i + 1] as string, `--${name}`, values)
  return i + 1
}

/** Reads `-abc` at argv[i]: flags, of which the last may take the rest of the word, or the next word, as its value. */
function cluster(
  word: string,
  argv: readonly string[],
  i: number,
  options: Map<string, Option>,
  values: Map<string, unknown>,
): number {
  for (let at = 1; at < word.length; at++) {
    const letter = word[at] as string
    const option = options.get(letter)
    if (option === undefined) throw unknownOption(`-${letter}`, options, word)
    const rest = word.slice(at + 1)
    if (!option.takesValue) {
      if (rest.startsWith('=')) {
        flag(option, rest.slice(1), `-${letter}`, values)
        return i
      }
      flag(option, undefined, `-${letter}`, values)
      continue
    }
    if (rest !== '') {
      store(option, rest.startsWith('=') ? rest.slice(1) : rest, `-${letter}`, values)
      return i
    }
    if (i + 1 >= argv.length) throw new UsageError(`option -${letter} needs a value`)
    store(option, argv[i + 1] as string, `-${letter}`, values)
    return i + 1
  }
  return i
}

const TRUE = new Set(['true', '1', 't', 'T', 'TRUE', 'True'])
const FALSE = new Set(['false', '0', 'f', 'F', 'FALSE', 'False'])

function flag(option: Option, given: string | undefined, shown: string, values: Map<string, unknown>): void {
  if (option.spec.type === 'count') {
    values.set(option.name, ((values.get(option.name) as number | undefined) ?? 0) + 1)
  } else if (given === undefined || TRUE.has(given)) values.set(option.name, true)
  else if (FALSE.has(given)) values.set(option.name, false)
  else throw new UsageError(`option ${shown} is true or false, not '${given}'`)
}

function store(option: Option, text: string, shown: string, values: Map<string, unknown>): void {
  const { spec, name } = option
  let value: unknown = text
  if (spec.type === 'number') {
    if (text.trim() === '' || !Number.isFinite(Number(text)))
      throw new UsageError(`option ${shown} needs a number, not '${text}'`)
    value = Number(text)
  }
  if (spec.choices !== undefined && !spec.choices.includes(value as string))
    throw new UsageError(`option ${shown} is one of ${spec.choices.join(', ')}, not '${text}'`)
  if (spec.coerce !== undefined) value = (spec.coerce as (v: unknown) => unknown)(value)
  if (spec.array === true || spec.type === 'array') {
    const list = values.get(name) as unknown[] | undefined
    if (list === undefined) values.set(name, [value])
    else list.push(value)
  } else values.set(name, value)
}

function checkConflicts(table: OptionTable, values: Map<string, unknown>): void {
  for (const [name, spec] of Object.entries(table)) {
    if (spec.conflicts === undefined || values.get(name) === undefined) continue
    for (const other of [spec.conflicts].flat() as string[])
      if (values.get(other) !== undefined) throw new UsageError(`options --${name} and --${other} exclude each other`)
  }
}

function unknownOption(shown: string, options: Map<string, Option>, within?: string): UsageError {
  const context = within !== undefined && within !== shown ? ` in '${within}'` : ''
  const known = [...options].filter(([, o]) => o.spec.hidden !== true).map(([n]) => (n.length > 1 ? `--${n}` : `-${n}`))
  return new UsageError(`unknown option '${shown}'${context}${didYouMean(shown, known)}`)
}

interface PositionalSpec {
  readonly name: string
  readonly required: boolean
  readonly rest: boolean
}

/** The positionals a yargs command string names: `<a>`, `[b]`, `[c..]`. */
export function positionalSpecs(command: string): PositionalSpec[] {
  return [...command.matchAll(/([<[])([^\]>]+?)(\.\.)?[\]>]/g)].map(m => ({
    name: m[2] as string,
    required: m[1] === '<',
    rest: m[3] !== undefined,
  }))
}

function positionals(command: Command, words: readonly string[]): Record<string, unknown> {
  const specs = positionalSpecs(command.command)
  const result: Record<string, unknown> = {}
  let at = 0
  specs.forEach((spec, index) => {
    const requiredAfter = specs.slice(index + 1).filter(s => s.required).length
    const available = words.length - at - requiredAfter
    const taken = spec.rest ? Math.max(available, 0) : Math.min(Math.max(available, spec.required ? 1 : 0), 1)
    const got = words.slice(at, at + taken)
    if (spec.required && got.length === 0) throw new UsageError(`missing argument <${spec.name}>`)
    result[camel(spec.name)] = spec.rest ? got : got[0]
    at += got.length
  })
  if (at < words.length) throw new UsageError(`unexpected argument '${words[at]}'`)
  return result
}

function camel(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
}
