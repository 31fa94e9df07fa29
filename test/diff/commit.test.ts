import t from 'tap'
import { commitGivesTheSame, skip } from './commit.js'

t.test('commit(diff) applied elsewhere gives the same tree', { skip, timeout: 800_000 }, async t => {
  await commitGivesTheSame(t, [1, 8, 10])
})
