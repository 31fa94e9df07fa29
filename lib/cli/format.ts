/**
 * Owns `--format` of listings: `json` (one object a line), `table TEMPLATE` (with headings), or a template for each row.
 * Invariant: field names are Docker's where Docker has the listing; what a template prints of names is terminal-safe.
 */
import { UsageError, type Output } from './command.js'
import { printTable } from './print.js'
import { printable } from './printable.js'
import { compileTemplate } from './template.js'

/** The `--format` of a listing or of inspect. */
export const formatOption = {
  format: { type: 'string', describe: "Print by a template, '{{.Name}}'; 'table …' with headings; 'json'" },
} as const

/** The `--format` of the inspect verbs, with docker's letter. */
export const inspectFormat = {
  format: { alias: 'f', type: 'string', describe: "Print by a template, '{{.Name}}'; or 'json'" },
} as const

/** Prints what an inspect verb has found: an indented array without a format. */
export function printInspected(out: Output, found: readonly View[], format: string | undefined): void {
  if (format === undefined) out.write(`${JSON.stringify(found, null, 2)}\n`)
  else if (format === 'json') out.write(`${JSON.stringify(found)}\n`)
  else {
    const render = compileTemplate(format)
    for (const one of found) out.write(`${render(one)}\n`)
  }
}

/** A row as templates see it: field names as Docker's, values as Docker prints them. */
export type View = Readonly<Record<string, unknown>>

/** Prints `rows` by `format`. `headings` names fields whose heading is not their name in capitals. */
export function printFormatted(
  out: Output,
  rows: readonly View[],
  format: string,
  headings: Readonly<Record<string, string>> = {},
): void {
  if (format === 'json') return void out.write(rows.map(row => `${JSON.stringify(row)}\n`).join(''))
  const table = /^table\s+/.exec(format)
  const template = format.slice(table?.[0].length ?? 0)
  if (template === '') throw new UsageError('format: the template is empty')
  const render = compileTemplate(template)
  const lines = rows.map(row => render(row))
  if (table === null) return void out.write(lines.map(line => `${printableLines(line)}\n`).join(''))
  // The heading is the template itself, with every field's heading for its value.
  const heading = template.replace(/\{\{.*?\}\}/gs, action => headingOf(action, headings)).replaceAll('\\t', '\t')
  const cells = lines.map(line => line.split('\t'))
  printTable(
    out,
    cells,
    heading.split('\t').map((title, i) => ({ heading: title, cell: (row: string[]) => row[i] ?? '' })),
  )
}

function headingOf(action: string, headings: Readonly<Record<string, string>>): string {
  const name = /\.(\w+)/.exec(action)?.[1] ?? ''
  return headings[name] ?? name.replace(/([a-z])([A-Z])/g, '$1 $2').toUpperCase()
}

/** Line breaks and tabs may be the template's own. */
function printableLines(line: string): string {
  return line.replace(/[^\n\t]+/g, printable)
}
