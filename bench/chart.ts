/** Owns the chart of a run: one HTML file with an SVG in it, a bar per peer and row. */
import { number, type About } from './report.js'
import { isRate, type Row } from './row.js'
import { cellOf, peersOf, type Sample } from './sample.js'

const WIDTH = 900
const LABEL = 300
const BAR = 14
const colours = ['#888888', '#4477aa', '#66aadd', '#cc6677', '#228833', '#88bb44', '#aa7733', '#7755aa']

/** Each row is scaled to its longest bar; shorter is better except for rates, which say so. */
export function chart(samples: readonly Sample[], rows: readonly Row[], about: About): string {
  const title = `Linux ${about.kernel}, Node ${about.node}, ${about.cores} cores`
  const drawings = (['root', 'rootless'] as const).flatMap(space => {
    const here = samples.filter(sample => sample.space === space)
    if (here.length === 0) return []
    return [`<h2>${space === 'root' ? 'As root' : 'In a user namespace'}</h2>`, drawing(here, rows)]
  })
  return `<!doctype html><meta charset="utf-8"><title>Lamina bench</title>
<h1>Lamina and its peers</h1><p>${title}. Medians of one interleaved run.</p>
${drawings.join('\n')}
`
}

function drawing(samples: readonly Sample[], rows: readonly Row[]): string {
  const peers = peersOf(samples)
  const parts: string[] = []
  let y = 10
  for (const row of rows) {
    const cells = peers.flatMap((peer, i) => {
      const c = cellOf(samples, row.id, peer)
      return c === undefined ? [] : [{ peer, i, ...c }]
    })
    if (cells.length === 0) continue
    const most = Math.max(...cells.map(c => c.median), Number.MIN_VALUE)
    parts.push(text(0, y + BAR, `${row.title} (${row.unit}${isRate(row) ? ', more is better' : ''})`))
    for (const c of cells) {
      const width = Math.max(1, (Math.max(c.median, 0) / most) * (WIDTH - LABEL - 160))
      parts.push(
        `<rect x="${LABEL}" y="${y}" width="${width.toFixed(1)}" height="${BAR - 3}" fill="${colours[c.i % colours.length]}"/>`,
        text(LABEL + width + 6, y + BAR - 4, `${c.peer} ${number(c.median)}`),
      )
      y += BAR
    }
    y += 12
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="11">
${parts.join('\n')}
</svg>`
}

function text(x: number, y: number, content: string): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(0)}" y="${y}">${safe}</text>`
}
