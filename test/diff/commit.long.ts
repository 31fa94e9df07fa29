import t from 'tap'
import { commitGivesTheSame, skip } from './commit.js'

t.test('commit(diff) applied elsewhere gives the same tree', { skip, timeout: 3_000_000 }, async t => {
  await commitGivesTheSame(
    t,
    Array.from({ length: 40 }, (_, i) => i + 3),
  )
})
