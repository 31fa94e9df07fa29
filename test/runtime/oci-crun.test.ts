import t from 'tap'
import { Lamina, unable } from './lamina.js'
import { suite } from './oci.js'

t.setTimeout(175_000)
suite(t, 'crun')

t.test('a runtime that is not there is refused, and nothing is left', { skip: unable() }, t => {
  const lamina = new Lamina()
  t.teardown(() => lamina.close())
  const r = lamina.do(['run', '--name', 'x', '--runtime', 'no-such-runtime', '--rootfs', '/', '--', 'true'])
  t.match(r, { code: 125, stderr: 'lamina: --runtime no-such-runtime: there is no such program\n' })
  t.equal(lamina.out('ps', '-aq'), '')
  t.end()
})
