import t from 'tap'
import { Random } from '../model/random.js'
import { killAtRandom } from './kill.js'

t.setTimeout(900_000)

t.test('kill -9 at a few moments of load, pull, commit, import, tag, rmi, prune leaves a sound store', t => {
  const seed = Date.now() >>> 0
  t.comment(`seed ${seed}`)
  const random = new Random(seed)
  return killAtRandom(t, 8, () => random.next())
})
