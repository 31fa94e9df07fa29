/**
 * Owns the bars: what Lamina has to reach in each row against the kernel's overlayfs (as it is mounted by default) and
 * against fuse-overlayfs, and the verdict on what a run has seen. Of `lamina` (directory lowers) and `lamina-indexed`
 * (images) the better served counts; both are shown. `lamina-overlay` (images by the driver overlay) has verdicts of its own.
 * Ratios are Lamina / peer: of times and sizes at most so much, of rates at least.
 */
import { isRate, type Row } from './row.js'
import { medianOf, type Sample } from './sample.js'

interface Bar {
  readonly kernel?: number
  readonly fuse?: number
  /** In the row's own unit, at most. */
  readonly most?: number
}

const sequential: Bar = { kernel: 0.95 }
const sequentialWrite: Bar = { kernel: 0.95, fuse: 3 }
const random: Bar = { kernel: 0.95, fuse: 5 }
const warmWalk: Bar = { kernel: 1.3, fuse: 0.65 }
const list: Bar = { kernel: 2, fuse: 0.1 }

export const bars: Readonly<Record<string, Bar>> = {
  'walk-cold': { kernel: 1, fuse: 0.2 },
  'walk-warm': warmWalk,
  'walk-user': warmWalk,
  'walk-parallel': { kernel: 1.3, fuse: 1 },
  'read-cold': { kernel: 1.5, fuse: 0.7 },
  'read-warm': { kernel: 2, fuse: 0.5 },
  list,
  'list-long': list,
  'open-read': { kernel: 3, fuse: 0.35 },
  missing: { kernel: 2.5, fuse: 0.3 },
  create: { kernel: 3, fuse: 0.3 },
  unlink: { kernel: 1.5, fuse: 0.6 },
  'write-seq': sequentialWrite,
  'rewrite-seq': sequentialWrite,
  'read-seq': sequential,
  'read-random': random,
  'write-random': random,
  'write-fsync': random,
  'read-seq-first': sequential,
  'read-seq-cold': sequential,
  'read-random-cold': random,
  'copyup-append': { kernel: 1, fuse: 0.75 },
  'copyup-chmod': { kernel: 0.5, fuse: 0.9 },
  'append-big': { kernel: 0.05, fuse: 0.1 },
  'chown-r': { kernel: 0.5, fuse: 0.5 },
  'rm-rf': { kernel: 3, fuse: 0.3 },
  untar: { kernel: 3, fuse: 0.2 },
  'git-add': { kernel: 2, fuse: 0.4 },
  'git-status': { kernel: 2, fuse: 0.6 },
  dpkg: { kernel: 1.2, fuse: 0.6 },
  gcc: { kernel: 1.1, fuse: 0.9 },
  compile: { kernel: 1.1, fuse: 0.9 },
  // "One copy" and "a tenth", of what is counted to a hundredth.
  'ten-cache': { kernel: 1.05, fuse: 0.105 },
  'ten-time': { kernel: 1.2, fuse: 0.2 },
  'mount-command': { most: 120 },
  'private-idle': { most: 20 },
  'private-many': { most: 60 },
}

/** In a user namespace: all rows the same, but for the first read of what is large. */
const ROOTLESS: Bar = { fuse: 0.8 }
const ROOTLESS_FIRST_READ: Bar = { fuse: 1 }
const firstReads = ['read-seq-first', 'read-seq-cold']
/** What is said of servers holds for them in any namespace; it is no row of work, and Node's own start is none of ours. */
const aboutServers = /^(rss|pss|private|mount|ten-cache|node$)/

export function barOf(row: Row, space: Sample['space']): Bar | undefined {
  if (space === 'root') return bars[row.id]
  if (aboutServers.test(row.id)) return bars[row.id]?.most === undefined ? undefined : { most: bars[row.id]?.most ?? 0 }
  const bar = firstReads.includes(row.id) ? ROOTLESS_FIRST_READ : ROOTLESS
  // Of a rate the ratio is the other way round.
  return isRate(row) ? { fuse: 1 / (bar.fuse ?? 1) } : bar
}

export interface Verdict {
  readonly row: Row
  readonly space: Sample['space']
  readonly against: 'kernel' | 'fuse-overlayfs' | 'itself'
  readonly bar: number
  /** What was seen: a ratio, or a number in the row's unit against `itself`. */
  readonly seen: number
  /** Which of Lamina's it was. */
  readonly by: string
  readonly holds: boolean
}

/** Whose median is held against the bars: the best of these, by the driver that serves them. */
const drivers = { fuse: ['lamina', 'lamina-indexed'], overlay: ['lamina-overlay'] } as const

/** The verdicts on `row` for one of Lamina's drivers: one per peer that the bar speaks of and that was measured. */
export function judge(
  samples: readonly Sample[],
  row: Row,
  space: Sample['space'],
  driver: keyof typeof drivers = 'fuse',
): Verdict[] {
  const bar = barOf(row, space)
  if (bar === undefined) return []
  const here = samples.filter(sample => sample.space === space && sample.row === row.id)
  const ours = drivers[driver].flatMap(by => {
    const median = medianOf(here, by)
    return median === undefined ? [] : [{ by, median }]
  })
  if (ours.length === 0) return []
  const upwards = isRate(row)
  const best = ours.reduce((a, b) => (b.median < a.median !== upwards ? b : a))
  const verdict = (against: Verdict['against'], value: number, seen: number): Verdict => {
    const holds = upwards ? seen >= value : seen <= value
    return { row, space, against, bar: value, seen, by: best.by, holds }
  }
  const verdicts: Verdict[] = []
  const [kernel, fuse] = [medianOf(here, 'kernel'), medianOf(here, 'fuse-overlayfs')]
  if (bar.kernel !== undefined && kernel) verdicts.push(verdict('kernel', bar.kernel, best.median / kernel))
  if (bar.fuse !== undefined && fuse) verdicts.push(verdict('fuse-overlayfs', bar.fuse, best.median / fuse))
  if (bar.most !== undefined) verdicts.push(verdict('itself', bar.most, best.median))
  return verdicts
}
