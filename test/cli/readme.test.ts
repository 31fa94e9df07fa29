/** What the README says of verbs and exit codes is what the program has. */
import t from 'tap'
import { readFileSync } from 'node:fs'
import { groups } from '../../lib/cli/commands.js'
import { ExitCode } from '../../lib/cli/exit-codes.js'

const readme = readFileSync('README.md', 'utf8')

/** The README's section, made of the table of verbs. */
function verbsSection(): string {
  const names = (verbs: object): string =>
    Object.keys(verbs)
      .map(name => `\`${name}\``)
      .join(' ')
  const rows = Object.entries(groups).map(([title, verbs]) => `| ${title} | ${names(verbs)} |`)
  return ['| | |', '|---|---|', ...rows].join('\n')
}

t.test('every verb is listed', async t => {
  const [, section] = /<!-- verbs[^>]*-->\n\n([\s\S]*?)\n\n<!-- \/verbs -->/.exec(readme) ?? []
  t.equal(section, verbsSection(), `README.md should have\n${verbsSection()}`)
})

t.test('every exit code has its row', async t => {
  for (const [name, code] of Object.entries(ExitCode)) t.match(readme, new RegExp(`^\\| ${code} \\| `, 'm'), name)
})
