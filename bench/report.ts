/** Owns what is made of samples: a table of medians, spreads and ratios, and a chart as one HTML file with SVG in it. */
import type { Row } from './groups.js'

export interface Sample {
  readonly group: string
  readonly row: string
  readonly peer: string
  readonly repetition: number
  readonly value: number
  readonly unit: Row['unit']
}

export interface About {
  readonly kernel: string
  readonly node: string
  readonly cores: number
  readonly quick: boolean
}

interface Cell {
  readonly median: number
  /** Half the distance from the lowest to the highest, as a part of the median. */
  readonly spread: number
}

/** Peers in the order they were measured first, `plain` and `kernel` leading. */
function peersOf(samples: readonly Sample[]): string[] {
  const order = ['plain', 'kernel', 'fuse-overlayfs']
  const found = [...new Set(samples.map(s => s.peer))]
  return [...order.filter(p => found.includes(p)), ...found.filter(p => !order.includes(p)).sort()]
}

function cell(samples: readonly Sample[], row: string, peer: string): Cell | undefined {
  const values = samples
    .filter(s => s.row === row && s.peer === peer)
    .map(s => s.value)
    .sort((a, b) => a - b)
  const median = values[Math.floor(values.length / 2)]
  const [low = 0, high = 0] = [values[0], values.at(-1)]
  return median === undefined ? undefined : { median, spread: median === 0 ? 0 : (high - low) / 2 / Math.abs(median) }
}

/** A number with three digits that count. */
function number(value: number): string {
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en')
  return value.toPrecision(size >= 10 ? 3 : 2).replace(/e.*/, m => `×10^${Number(m.slice(1))}`)
}

function isRate(row: Row): boolean {
  return row.unit === 'MB/s' || row.unit === 'IOPS'
}

/**
 * Markdown. Each cell: median and ± spread; then Lamina's ratio to kernel overlayfs and to fuse-overlayfs, of times and
 * sizes (below 1 is better) or of rates (above 1 is better).
 */
export function table(samples: readonly Sample[], rows: readonly Row[], about: About): string {
  const peers = peersOf(samples)
  const ours = peers.filter(p => p.startsWith('lamina'))
  const ratios = ours.flatMap(p =>
    ['kernel', 'fuse-overlayfs'].filter(q => peers.includes(q)).map(q => [p, q] as const),
  )
  const head = ['work', 'unit', ...peers, ...ratios.map(([p, q]) => `${p} / ${q}`)]
  const lines = rows
    .filter(row => samples.some(s => s.row === row.id))
    .map(row => {
      const cells = peers.map(p => {
        const c = cell(samples, row.id, p)
        return c === undefined ? '–' : `${number(c.median)} ±${Math.round(c.spread * 100)}%`
      })
      const quotients = ratios.map(([p, q]) => {
        const [a, b] = [cell(samples, row.id, p), cell(samples, row.id, q)]
        return a === undefined || b === undefined || b.median === 0 ? '–' : `${(a.median / b.median).toFixed(2)}×`
      })
      return [row.title, isRate(row) ? `${row.unit} ↑` : row.unit, ...cells, ...quotients]
    })
  const text = [head, head.map(() => '---'), ...lines].map(cells => `| ${cells.join(' | ')} |`).join('\n')
  return `Linux ${about.kernel}, Node ${about.node}, ${about.cores} cores${about.quick ? ', quick' : ''}; median ± half the range\n\n${text}`
}

const WIDTH = 900
const LABEL = 300
const BAR = 14
const colours = ['#888888', '#4477aa', '#cc6677', '#228833', '#aa7733', '#7755aa']

/** A bar per peer and row, each row scaled to its longest; shorter is better except for rates, which say so. */
export function chart(samples: readonly Sample[], rows: readonly Row[], about: About): string {
  const peers = peersOf(samples)
  const parts: string[] = []
  let y = 10
  for (const row of rows) {
    const cells = peers.flatMap((peer, i) => {
      const c = cell(samples, row.id, peer)
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
  const title = `Linux ${about.kernel}, Node ${about.node}, ${about.cores} cores`
  return `<!doctype html><meta charset="utf-8"><title>Lamina bench</title>
<h1>Lamina and its peers</h1><p>${title}. Medians of one interleaved run.</p>
<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" font-family="sans-serif" font-size="11">
${parts.join('\n')}
</svg>
`
}

function text(x: number, y: number, content: string): string {
  const safe = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(0)}" y="${y}">${safe}</text>`
}
