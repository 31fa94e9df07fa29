import t from 'tap'
import { Random } from '../model/random.js'
import { killAtAnyMoment } from './kill.js'
import { unable } from './lamina.js'

t.setTimeout(900_000)

t.test('kill -9 at a few moments of a container’s life: the next command sweeps', { skip: unable() }, t => {
  const seed = Date.now() >>> 0
  t.comment(`seed ${seed}`)
  const random = new Random(seed)
  return killAtAnyMoment(t, 13, () => random.next())
})
