/** The verdicts of the benchmark: which ratio is held against which bar. */
import t from 'tap'
import { bars, judge } from '../../bench/bars.js'
import { groups } from '../../bench/groups.js'
import { tables } from '../../bench/report.js'
import type { Row } from '../../bench/row.js'
import type { Sample } from '../../bench/sample.js'

const rows = groups.flatMap(group => group.rows)
const row = (id: string): Row => {
  const found = rows.find(r => r.id === id)
  if (found === undefined) throw new Error(id)
  return found
}

function samplesOf(id: string, space: Sample['space'], values: Record<string, number | number[]>): Sample[] {
  const { unit } = row(id)
  return Object.entries(values).flatMap(([peer, list]) =>
    [list].flat().map((value, repetition) => ({ space, group: '', row: id, peer, repetition, value, unit })),
  )
}

t.test('each bar is of a row that is measured, and rows have one name each', async t => {
  const ids = rows.map(r => r.id)
  t.same(
    Object.keys(bars).filter(id => !ids.includes(id)),
    [],
  )
  t.equal(new Set(ids).size, ids.length)
})

t.test('a time is held against both peers, by medians, and the better served of two counts', async t => {
  const samples = samplesOf('create', 'root', {
    kernel: [10, 1000, 20],
    'fuse-overlayfs': 100,
    lamina: 70,
    'lamina-indexed': 50,
  })
  t.match(judge(samples, row('create'), 'root'), [
    { against: 'kernel', bar: 3, seen: 2.5, by: 'lamina-indexed', holds: true },
    { against: 'fuse-overlayfs', bar: 0.3, seen: 0.5, by: 'lamina-indexed', holds: false },
  ])
})

t.test('of a rate more is better', async t => {
  const samples = samplesOf('write-random', 'root', {
    kernel: 100,
    'fuse-overlayfs': 10,
    lamina: 96,
    'lamina-indexed': 90,
  })
  t.match(judge(samples, row('write-random'), 'root'), [
    { against: 'kernel', seen: 0.96, by: 'lamina', holds: true },
    { against: 'fuse-overlayfs', seen: 9.6, holds: true },
  ])
})

t.test('in a user namespace every row of work is held against fuse-overlayfs there', async t => {
  const time = samplesOf('untar', 'rootless', { kernel: 1, 'fuse-overlayfs': 10, lamina: 8.1 })
  t.match(judge(time, row('untar'), 'rootless'), [{ against: 'fuse-overlayfs', bar: 0.8, holds: false }])
  const rate = samplesOf('write-seq', 'rootless', { 'fuse-overlayfs': 80, lamina: 101 })
  t.match(judge(rate, row('write-seq'), 'rootless'), [{ bar: 1.25, holds: true }])
  const first = samplesOf('read-seq-first', 'rootless', { 'fuse-overlayfs': 100, lamina: 101 })
  t.match(judge(first, row('read-seq-first'), 'rootless'), [{ bar: 1, holds: true }])
  const node = samplesOf('node', 'rootless', { 'fuse-overlayfs': 80, lamina: 80 })
  t.same(judge(node, row('node'), 'rootless'), [], 'but what is shown for comparison only')
})

t.test('the driver overlay has verdicts of its own, and the two are counted together', async t => {
  const samples = samplesOf('create', 'root', {
    kernel: 10,
    'fuse-overlayfs': 100,
    lamina: 40,
    'lamina-indexed': 29,
    'lamina-overlay': 31,
  })
  t.match(judge(samples, row('create'), 'root', 'overlay'), [
    { against: 'kernel', seen: 3.1, by: 'lamina-overlay', holds: false },
    { against: 'fuse-overlayfs', seen: 0.31, holds: false },
  ])
  t.match(judge(samples, row('create'), 'root'), [{ by: 'lamina-indexed', holds: true }, { holds: true }])
  const text = tables(samples, rows, { kernel: '6.18', node: 'v20', cores: 2, quick: false })
  t.match(text, /k ≤ 3 holds, f ≤ 0.3 holds \| k \*\*missed\*\*, f \*\*missed\*\* \|/)
  t.match(text, 'Bars, driver fuse: 2 hold, 0 are missed.')
  t.match(text, 'Bars, driver overlay: 0 hold, 2 are missed:')
  t.match(text, 'By the better of the two: 2 hold, 0 are missed.')
})

t.test('the tables name each bar that is missed', async t => {
  const samples = [
    ...samplesOf('mount-command', 'root', { lamina: 130 }),
    ...samplesOf('walk-warm', 'root', { kernel: 1, lamina: 1.2 }),
  ]
  const text = tables(samples, rows, { kernel: '6.18', node: 'v20', cores: 2, quick: false })
  t.match(text, 'Bars: 1 hold, 1 are missed:')
  t.match(text, '- the whole mount command: 130 ms of itself, bar ≤ 120 ms (lamina)')
})
