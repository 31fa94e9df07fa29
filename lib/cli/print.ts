/**
 * Owns what listings look like: Docker's columns (upper-case heading, three spaces between) and JSON.
 * Invariant: every cell is made terminal-safe here, so commands pass names as they are.
 */
import type { Output } from './command.js'
import { printable } from './printable.js'

export interface Column<Row> {
  readonly heading: string
  readonly cell: (row: Row) => string
  /** Numbers line up on the right. */
  readonly right?: boolean
}

/** Prints a heading line and one line per row. An empty listing prints the heading alone, as Docker does. */
export function printTable<Row>(out: Output, rows: readonly Row[], columns: readonly Column<Row>[]): void {
  const lines = [columns.map(c => c.heading), ...rows.map(row => columns.map(c => printable(c.cell(row))))]
  const widths = columns.map((_, i) => lines.reduce((w, line) => Math.max(w, displayWidth(line[i] ?? '')), 0))
  const text = lines.map(line =>
    line
      .map((cell, i) => {
        const gap = ' '.repeat((widths[i] ?? 0) - displayWidth(cell))
        return columns[i]?.right === true ? gap + cell : cell + gap
      })
      .join('   ')
      .trimEnd(),
  )
  out.write(text.join('\n') + '\n')
}

/** Prints one JSON document: indented for a terminal, one line for a program. bigint becomes a number. */
export function printJson(out: Output, value: unknown): void {
  const plain = (_: string, v: unknown): unknown => (typeof v === 'bigint' ? Number(v) : v)
  out.write(JSON.stringify(value, plain, out.isTTY === true ? 2 : undefined) + '\n')
}

/** Terminal cells that `text` takes: wide East Asian and emoji two, combining marks none. */
export function displayWidth(text: string): number {
  // eslint-disable-next-line no-control-regex
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const char of text) width += /\p{M}/u.test(char) ? 0 : WIDE.test(char) ? 2 : 1
  return width
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\p{Emoji_Presentation}\u{20000}-\u{3fffd}]/u
