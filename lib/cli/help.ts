/**
 * Owns `--help`: the overview of verbs (from the table, no module loaded) and one verb's page (by yargs, from the same
 * option table the parser uses).
 * Invariant: only this file and completion.ts load yargs.
 */
import type { Options } from 'yargs'
import type { Command, OptionTable } from './command.js'
import { groups, membersOf } from './commands.js'
import { displayWidth } from './print.js'

/** Options every verb has. They may stand before or after the verb. */
export const globalOptions = {
  root: { type: 'string', describe: 'Store root directory (also LAMINA_ROOT)', group: 'Global options:' },
  debug: { type: 'boolean', describe: 'Show stack traces and more of what happens', group: 'Global options:' },
  help: { alias: 'h', type: 'boolean', describe: 'Show help', group: 'Global options:' },
} as const satisfies OptionTable

/** `lamina --help`. With `group`, only what there is in that group (`lamina network`), other words for verbs too. */
export function overview(group?: string): string {
  const lines = [`Usage: lamina [--root DIR] [--debug] ${group ?? 'COMMAND'} ...`, '']
  const width = group === undefined ? 18 : 20
  for (const [title, verbs] of Object.entries(groups)) {
    const shown = Object.entries(verbs).filter(([name]) => group === undefined || name.startsWith(`${group} `))
    if (shown.length === 0) continue
    lines.push(`${title}:`)
    for (const [name, verb] of shown)
      lines.push(`  ${name}${' '.repeat(Math.max(2, width - displayWidth(name)))}${verb.describe}`)
    lines.push('')
  }
  if (group !== undefined) lines.push(...otherWords(group, width))
  lines.push('Global options:', '  --root DIR        Store root directory (also LAMINA_ROOT)')
  lines.push('  --debug           Show stack traces and more of what happens', '  --version         Show the version')
  lines.push('', "'lamina COMMAND --help' says more about a command.")
  if (group === undefined)
    lines.push("Docker's longer forms are understood too ('container ls', 'image rm'): 'lamina container' lists them.")
  return [...lines, ''].join('\n')
}

/** The words of a group that stand for a verb of another name. */
function otherWords(group: string, width: number): string[] {
  const other = [...membersOf(group)].filter(([word, verb]) => verb !== `${group} ${word}`)
  if (other.length === 0) return []
  const lines = other.map(([word, verb]) => {
    const said = `${group} ${word}`
    return `  ${said}${' '.repeat(Math.max(2, width - displayWidth(said)))}lamina ${verb}`
  })
  return ['The same as:', ...lines, '']
}

/** `lamina VERB --help`. */
export async function page(command: Command, columns: number): Promise<string> {
  const { default: yargs } = await import('yargs')
  const parser = yargs([])
    .scriptName('lamina')
    .locale('en')
    .help(false)
    .version(false)
    .wrap(Math.max(60, Math.min(columns, 120)))
    .usage(`Usage: lamina ${usage(command)}\n\n${command.describe}`)
    .options(mapOptions(command.builder))
    .options(globalOptionsOf(command.builder))
  for (const [line, what] of command.examples ?? []) parser.example(`lamina ${line}`, what)
  if (command.epilogue !== undefined) parser.epilogue(command.epilogue)
  return `${await parser.getHelp()}\n`
}

/** A verb may have `-h` for itself (hostname): then only `--help` is help. */
function globalOptionsOf(builder: OptionTable): Record<string, Options> {
  const taken = Object.values(builder).some(option => [option.alias ?? []].flat().includes('h'))
  return taken ? { ...globalOptions, help: { ...globalOptions.help, alias: [] } } : { ...globalOptions }
}

/** yargs lists a group it has not been told of last, so the command's own options get one and come first. */
function mapOptions(builder: OptionTable): Record<string, Options> {
  return Object.fromEntries(Object.entries(builder).map(([name, o]) => [name, { group: 'Options:', ...o }]))
}

/** `run [options] <image> [command..]` in Docker's form: `run [OPTIONS] IMAGE [COMMAND...]`. */
function usage(command: Command): string {
  const [, verb = '', rest = ''] = /^([^<[]+?)\s*([<[].*)?$/.exec(command.command) ?? []
  const words = rest
    .split(' ')
    .filter(word => word !== '')
    .map(word => {
      const name = word.replace(/[<>[\]]|\.\./g, '').toUpperCase()
      const repeated = word.includes('..') ? `${name}...` : name
      return word.startsWith('[') ? `[${repeated}]` : repeated
    })
  const options = Object.keys(command.builder).length > 0 ? ['[OPTIONS]'] : []
  return [verb, ...options, ...words].join(' ')
}
