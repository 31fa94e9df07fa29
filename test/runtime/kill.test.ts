import t from 'tap'
import { killAtAnyMoment } from './kill.js'
import { unable } from './lamina.js'

t.setTimeout(900_000)

t.test('kill -9 at a few moments of a container’s life: the next command sweeps', { skip: unable() }, t => {
  let seed = Date.now() >>> 0
  t.comment(`seed ${seed}`)
  return killAtAnyMoment(t, 13, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return seed / 2 ** 32
  })
})
