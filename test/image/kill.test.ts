import t from 'tap'
import { killAtRandom } from './kill.js'

t.setTimeout(900_000)

t.test('kill -9 at a few moments of load, pull, commit, import, tag, rmi, prune leaves a sound store', t => {
  let seed = Date.now() >>> 0
  t.comment(`seed ${seed}`)
  return killAtRandom(t, 8, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 32
  })
})
