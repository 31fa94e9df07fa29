/** Owns what is made of samples: tables of medians, spreads, ratios and verdicts; requests per operation. */
import { judge, type Verdict } from './bars.js'
import { isRate, type Row } from './row.js'
import { cellOf, peersOf, type Sample } from './sample.js'

export interface About {
  readonly kernel: string
  readonly node: string
  readonly cores: number
  readonly quick: boolean
}

/** A number with three digits that count. */
export function number(value: number): string {
  const size = Math.abs(value)
  if (size >= 100) return Math.round(value).toLocaleString('en')
  return value.toPrecision(size >= 10 ? 3 : 2).replace(/e.*/, m => `×10^${Number(m.slice(1))}`)
}

const ratio = (value: number): string => `${value.toFixed(value < 0.095 ? 3 : 2)}×`

/**
 * Markdown, a table per space. Each cell: median and ± spread; then Lamina's ratio to kernel overlayfs and to
 * fuse-overlayfs, of times and sizes (below 1 is better) or of rates (above 1 is better); then the bars.
 */
export function tables(samples: readonly Sample[], rows: readonly Row[], about: About): string {
  const head = `Linux ${about.kernel}, Node ${about.node}, ${about.cores} cores${about.quick ? ', quick' : ''}; median ± half the range`
  const parts = [head]
  for (const [space, title] of [
    ['root', 'As root'],
    ['rootless', 'In a user namespace'],
  ] as const) {
    const here = samples.filter(sample => sample.space === space)
    if (here.length > 0) parts.push(`### ${title}`, table(here, rows, space), summary(here, rows, space))
  }
  return parts.join('\n\n')
}

function table(samples: readonly Sample[], rows: readonly Row[], space: Sample['space']): string {
  const peers = peersOf(samples)
  const ours = peers.filter(p => p.startsWith('lamina'))
  const others = ['kernel', 'fuse-overlayfs'].filter(q => peers.includes(q))
  const pairs = ours.flatMap(p => others.map(q => [p, q] as const))
  const overlay = peers.includes('lamina-overlay')
  const head = [
    'work',
    'unit',
    ...peers,
    ...pairs.map(([p, q]) => `${p} / ${q}`),
    'bars',
    ...(overlay ? ['overlay'] : []),
  ]
  const lines = rows
    .filter(row => samples.some(s => s.row === row.id))
    .map(row => {
      const cells = peers.map(p => {
        const c = cellOf(samples, row.id, p)
        if (c === undefined) return '–'
        return c.count > 1 ? `${number(c.median)} ±${Math.round(c.spread * 100)}%` : number(c.median)
      })
      const quotients = pairs.map(([p, q]) => {
        const [a, b] = [cellOf(samples, row.id, p), cellOf(samples, row.id, q)]
        return a === undefined || b === undefined || b.median === 0 ? '–' : ratio(a.median / b.median)
      })
      const verdicts = judge(samples, row, space).map(short).join(', ')
      const byOverlay = overlay ? [judge(samples, row, space, 'overlay').map(brief).join(', ')] : []
      return [row.title, isRate(row) ? `${row.unit} ↑` : row.unit, ...cells, ...quotients, verdicts, ...byOverlay]
    })
  return [head, head.map(() => '---'), ...lines].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

const limit = ({ row, bar, against }: Verdict): string =>
  `${isRate(row) ? '≥' : '≤'} ${Number(bar.toPrecision(3))}${against === 'itself' ? ` ${row.unit}` : ''}`

const letter = { kernel: 'k', 'fuse-overlayfs': 'f', itself: '' } as const

function short(verdict: Verdict): string {
  return `${letter[verdict.against]} ${limit(verdict)} ${verdict.holds ? 'holds' : '**missed**'}`.trim()
}

/** Without the bar, which stands beside it. */
function brief({ against, holds }: Verdict): string {
  return `${letter[against]} ${holds ? 'holds' : '**missed**'}`.trim()
}

/** How many bars hold, and each that is missed, by driver; and how many hold by the better of the two. */
function summary(samples: readonly Sample[], rows: readonly Row[], space: Sample['space']): string {
  const fuse = rows.flatMap(row => judge(samples, row, space))
  const overlay = rows.flatMap(row => judge(samples, row, space, 'overlay'))
  if (overlay.length === 0) return counted('Bars', fuse)
  const held = new Set([...fuse, ...overlay].filter(v => v.holds).map(v => `${v.row.id} ${v.against}`))
  const all = new Set([...fuse, ...overlay].map(v => `${v.row.id} ${v.against}`))
  const either = `By the better of the two: ${held.size} hold, ${all.size - held.size} are missed.`
  return [counted('Bars, driver fuse', fuse), counted('Bars, driver overlay', overlay), either].join('\n\n')
}

function counted(title: string, all: readonly Verdict[]): string {
  const missed = all.filter(verdict => !verdict.holds)
  const lines = missed.map(v => {
    const seen = v.against === 'itself' ? `${number(v.seen)} ${v.row.unit}` : ratio(v.seen)
    return `- ${v.row.title}: ${seen} of ${v.against}, bar ${limit(v)} (${v.by})`
  })
  return [
    `${title}: ${all.length - missed.length} hold, ${missed.length} are missed${missed.length > 0 ? ':' : '.'}`,
    ...lines,
  ].join('\n')
}

/** What each operation asked of the server, medians over the repetitions; Lamina's peers, which count. */
export function requestTable(samples: readonly Sample[], rows: readonly Row[]): string {
  const lines: string[] = []
  for (const row of rows)
    for (const space of ['root', 'rootless'] as const)
      for (const peer of peersOf(samples)) {
        const own = samples.filter(s => s.row === row.id && s.peer === peer && s.space === space)
        const [first] = own
        if (first?.serverMicros === undefined) continue
        const names = [...new Set(own.flatMap(s => Object.keys(s.requests ?? {})))]
        const counts = names
          .map(name => [name, middle(own.map(s => s.requests?.[name] ?? 0))] as const)
          .filter(([, count]) => count >= 0.0005)
          .sort((a, b) => b[1] - a[1])
        const total = counts.reduce((sum, [, count]) => sum + count, 0)
        const time = `server ${number(middle(own.map(s => s.serverMicros ?? 0)))} µs`
        const asked = counts.map(([name, count]) => `${name} ${Number(count.toFixed(3))}`).join(', ')
        lines.push(
          `| ${row.title} | ${space === 'root' ? '' : 'rootless '}${peer} | ${Number(total.toFixed(2))} | ${time} | ${asked} |`,
        )
      }
  const head = '| work | peer | requests per operation | processor time per operation | which |'
  return [head, '| --- | --- | --- | --- | --- |', ...lines].join('\n')
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}
