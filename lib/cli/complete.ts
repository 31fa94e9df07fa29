/**
 * Owns shell completion: which words may come next on a command line, and the scripts that ask for them.
 * Format of an answer: one candidate a line, `word<TAB>description`; the line `:files` alone says that file names go here.
 * Invariant: answers come from the tables that the parser reads, so a new verb or option completes without more work.
 */
import type { Options } from 'yargs'
import type { Command, OptionTable } from './command.js'
import { membersOf, verbOf, verbs } from './commands.js'
import { globalOptions } from './help.js'
import { positionalSpecs } from './parse.js'

export const FILES = ':files'

/** Names for what `verb` calls `argument` (names.ts); undefined: files go here. */
export type Names = (verb: string, argument: string) => Promise<readonly string[] | undefined>

/** Candidates for the last of `words` (what stands after `lamina`, the last one perhaps empty). */
export async function candidates(words: readonly string[], names: Names): Promise<string[]> {
  const current = words.at(-1) ?? ''
  const before = words.slice(0, -1)
  const verb = findVerb(before)
  const found = verb === undefined ? firstWords(before) : await afterVerb(verb.name, verb.args, current, names)
  if (found.includes(FILES)) return [FILES]
  return found.filter(line => line.startsWith(current))
}

function findVerb(before: readonly string[]): { name: string; args: string[] } | undefined {
  const plain = before.findIndex((word, i) => !word.startsWith('-') && before[i - 1] !== '--root')
  if (plain < 0) return undefined
  return verbOf(before.slice(plain))
}

/** First words of verbs, or second ones when a group's first stands there. */
function firstWords(before: readonly string[]): string[] {
  if (before.at(-1) === '--root') return [FILES]
  const group = before.filter((word, i) => !word.startsWith('-') && before[i - 1] !== '--root').at(-1)
  const lines = new Map<string, string>()
  if (group !== undefined)
    for (const [second, meant] of membersOf(group))
      lines.set(second, verbs.get(verbOf(meant.split(' '))?.name ?? '')?.describe ?? '')
  else
    for (const [name, { describe }] of verbs) {
      const [first = '', second] = name.split(' ')
      if (!lines.has(first)) lines.set(first, second === undefined ? describe : `${first} …`)
    }
  const globals = group === undefined ? [...optionLines(globalOptions), '--version\tShow the version'] : []
  return [...[...lines].map(([word, describe]) => `${word}\t${describe}`), ...globals]
}

async function afterVerb(name: string, rest: readonly string[], current: string, names: Names): Promise<string[]> {
  const command = await (verbs.get(name) as NonNullable<ReturnType<typeof verbs.get>>).load().then(m => m.command)
  const table = { ...globalOptions, ...command.builder }
  const walked = walk(command, table, rest)
  const ask = (argument: string) => names(name, argument)
  if (walked.pending !== undefined) return values(walked.pending, '', ask)
  if (!walked.ended && current.startsWith('-')) {
    const equals = current.indexOf('=')
    const option = equals < 0 ? undefined : lookup(table, current.slice(0, equals))
    if (option === undefined) return optionLines(table)
    return values(option, current.slice(0, equals + 1), ask)
  }
  const specs = positionalSpecs(command.command)
  const spec = specs[walked.positionals] ?? specs.filter(s => s.rest).at(-1)
  if (spec === undefined) return walked.ended ? [] : optionLines(table)
  return /^[./~]/.test(current) ? [FILES] : [...((await ask(spec.name)) ?? [FILES])]
}

/** Goes over the words already there: how many positionals, whether options have ended, whether one waits for its value. */
function walk(command: Command, table: OptionTable, rest: readonly string[]) {
  let positionals = 0
  let ended = false
  let pending: [string, Options] | undefined
  for (const word of rest) {
    if (pending !== undefined) pending = undefined
    else if (ended || !word.startsWith('-') || word === '-') {
      positionals++
      if (command.optionsFirst === true) ended = true
    } else if (word === '--') ended = true
    else if (!word.includes('=')) {
      const option = lookup(table, word)
      if (option !== undefined && takesValue(option[1])) pending = option
    }
  }
  return { positionals, ended, pending }
}

async function values(
  [name, spec]: [string, Options],
  prefix: string,
  ask: (argument: string) => Promise<readonly string[] | undefined>,
): Promise<string[]> {
  if (spec.choices !== undefined) return spec.choices.map(choice => `${prefix}${choice}`)
  if (spec.type === 'boolean') return [`${prefix}true`, `${prefix}false`]
  const known = await ask(name)
  if (known !== undefined) return known.map(n => `${prefix}${n}`)
  return [FILES]
}

function lookup(table: OptionTable, word: string): [string, Options] | undefined {
  const name = word.startsWith('--') ? word.slice(2) : word.slice(-1)
  return Object.entries(table).find(([n, spec]) => n === name || [spec.alias ?? []].flat().includes(name))
}

function takesValue(spec: Options): boolean {
  return spec.type !== 'boolean' && spec.type !== 'count'
}

function optionLines(table: OptionTable): string[] {
  return Object.entries(table)
    .filter(([, spec]) => spec.hidden !== true)
    .map(([name, spec]) => `--${name}\t${spec.describe ?? ''}`)
}

/** The script a shell reads once: `source <(lamina completion bash)`. */
export const scripts = {
  bash: `# lamina completion for bash: source <(lamina completion bash)
_lamina() {
  local line=\${COMP_LINE:0:COMP_POINT} words current candidate
  read -ra words <<<"$line"
  [[ $line == *' ' ]] && words+=('')
  current=\${words[\${#words[@]}-1]}
  COMPREPLY=()
  while IFS= read -r candidate; do
    if [[ $candidate == :files ]]; then compopt -o default; return; fi
    candidate=\${candidate%%$'\\t'*}
    # bash has split the word at these characters and replaces only what follows the last of them.
    local kept=\${current%"\${current##*[:=]}"}
    COMPREPLY+=("\${candidate#"$kept"}")
  done < <("\${words[0]}" __complete "\${words[@]:1}" 2>/dev/null)
}
complete -F _lamina lamina
`,
  zsh: `#compdef lamina
# lamina completion for zsh: source <(lamina completion zsh)
_lamina() {
  local -a found
  local candidate
  for candidate in "\${(@f)$(\${words[1]} __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    if [[ $candidate == :files ]]; then _files; return; fi
    [[ -n $candidate ]] && found+=("\${\${candidate//:/\\\\:}/$'\\t'/:}")
  done
  _describe lamina found
}
compdef _lamina lamina
`,
  fish: `# lamina completion for fish: lamina completion fish | source
function __lamina_complete
  set -l found (lamina __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)
  if test "$found" = ':files'
    __fish_complete_path (commandline -ct)
  else
    string join \\n -- $found
  end
end
complete -c lamina -f -a '(__lamina_complete)'
`,
} as const
