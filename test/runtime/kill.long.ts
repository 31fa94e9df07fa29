import t from 'tap'
import { Random } from '../model/random.js'
import { killAtAnyMoment } from './kill.js'
import { unable } from './lamina.js'

t.setTimeout(3_000_000)

t.test('kill -9 at 300 moments of a container’s life: the next command sweeps', { skip: unable() }, t => {
  const seed = Date.now() >>> 0
  t.comment(`seed ${seed}`)
  const random = new Random(seed)
  return killAtAnyMoment(t, 300, () => random.next())
})
