import t from 'tap'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf, compare, openDirectoryLayer } from '../lib/index.js'

t.test('the public API loads as a whole, and two directories can be compared with it', async t => {
  const root = mkdtempSync(join(tmpdir(), 'index-'))
  for (const name of ['a', 'b']) mkdirSync(join(root, name))
  writeFileSync(join(root, 'a/old'), 'x')
  writeFileSync(join(root, 'b/new'), 'x')
  const [before, after] = ['a', 'b'].map(name => openDirectoryLayer(bytesOf(join(root, name)))) as [
    ReturnType<typeof openDirectoryLayer>,
    ReturnType<typeof openDirectoryLayer>,
  ]
  const changes = compare([before], [after], { ignoreTimes: true })
  t.strictSame(
    changes.map(change => [change.kind, change.path]),
    [
      ['added', '/new'],
      ['removed', '/old'],
    ],
  )
  before.close()
  after.close()
})
