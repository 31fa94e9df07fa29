/** Owns one measured number, and the statistics of many. */
import type { Row } from './row.js'

export interface Sample {
  /** As root of the machine, or all in a user namespace. */
  readonly space: 'root' | 'rootless'
  readonly group: string
  readonly row: string
  readonly peer: string
  readonly repetition: number
  readonly value: number
  readonly unit: Row['unit']
  /** What the server was asked, per operation of the row, and the processor time it took for one; of servers only. */
  readonly requests?: Readonly<Record<string, number>>
  readonly serverMicros?: number
}

export interface Cell {
  readonly median: number
  /** Half the distance from the lowest to the highest, as a part of the median. */
  readonly spread: number
  readonly count: number
}

/** Peers in the order to show them. */
export function peersOf(samples: readonly Sample[]): string[] {
  const order = ['plain', 'kernel', 'kernel-metacopy', 'fuse-overlayfs', 'lamina', 'lamina-indexed', 'lamina-overlay']
  const found = [...new Set(samples.map(s => s.peer))]
  return [...order.filter(p => found.includes(p)), ...found.filter(p => !order.includes(p)).sort()]
}

/** Undefined of nothing. */
export function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length / 2
  const [above, below] = [sorted[Math.floor(middle)], sorted[Math.ceil(middle) - 1]]
  return above === undefined || below === undefined ? undefined : (above + below) / 2
}

export function cellOf(samples: readonly Sample[], row: string, peer: string): Cell | undefined {
  const values = samples.filter(s => s.row === row && s.peer === peer).map(s => s.value)
  const middle = median(values)
  if (middle === undefined) return undefined
  const half = (Math.max(...values) - Math.min(...values)) / 2
  return { median: middle, spread: middle === 0 ? 0 : half / Math.abs(middle), count: values.length }
}

/** Of samples of one row. */
export function medianOf(samples: readonly Sample[], peer: string): number | undefined {
  const [first] = samples
  return first === undefined ? undefined : cellOf(samples, first.row, peer)?.median
}
