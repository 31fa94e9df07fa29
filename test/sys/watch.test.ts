/** Watching an fd in the event loop. */
import { closeSync, writeSync } from 'node:fs'
import t from 'tap'
import { pipe, watch } from '../../lib/sys/process.js'

t.test('what waits for a watched fd goes on although no other event comes', async t => {
  const { read, write } = pipe()
  const events: string[] = []
  // The event that comes next when nothing else does.
  const timer = setTimeout(() => events.push('timer'), 2000)
  await new Promise<void>(resolve => {
    const watched = watch(read, () => {
      events.push('ready')
      watched.close()
      resolve()
    })
    writeSync(write, 'x')
  })
  t.same(events, ['ready'])
  clearTimeout(timer)
  closeSync(read)
  closeSync(write)
})
