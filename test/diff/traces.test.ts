/** What mounts leave in an upper is no change; what somebody put there is. */
import t from 'tap'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { compare } from '../../lib/diff/compare.js'
import { tracesOf } from '../../lib/diff/traces.js'
import { openDirectoryLayer } from '../../lib/layer/directory.js'

/** Makes files (text) and directories (null) below `root`. */
function make(root: string, files: Readonly<Record<string, string | null>>): void {
  mkdirSync(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, text === null ? path : dirname(path)), { recursive: true })
    if (text !== null) writeFileSync(join(root, path), text)
  }
}

function changes(
  t: { testdir(): string; teardown(f: () => void): void },
  { lower, upper, mounts }: { lower: object; upper: object; mounts: readonly string[] },
  before: (upper: string) => void = () => undefined,
): { traces: string[]; changes: string[] } {
  const dir = t.testdir()
  make(join(dir, 'lower'), lower as Record<string, string | null>)
  make(join(dir, 'upper'), upper as Record<string, string | null>)
  before(join(dir, 'upper'))
  const [below, above] = [openDirectoryLayer(join(dir, 'lower')), openDirectoryLayer(join(dir, 'upper'))]
  t.teardown(() => (below.close(), above.close()))
  const traces = tracesOf(above, [below], mounts)
  above.hidden = traces
  const found = compare([below], [above, below]).filter(c => c.path !== '/')
  return { traces: [...traces].sort(), changes: found.map(c => `${c.kind} ${c.path}`) }
}

const mounts = ['/proc', '/etc/hosts', '/srv/deep/data']

t.test('mountpoints that were made, and the directories made or copied up to hold them', async t => {
  const lower = { 'etc/passwd': 'p', 'bin/sh': 's' }
  const upper = { proc: null, 'etc/hosts': '', 'srv/deep/data': null }
  const found = changes(t, { lower, upper, mounts })
  t.same(found.changes, [])
  t.same(found.traces, ['/etc', '/etc/hosts', '/proc', '/srv', '/srv/deep', '/srv/deep/data'])
})

t.test('what somebody put beside them, or into one while nothing was mounted, is a change', async t => {
  const lower = { 'etc/passwd': 'p' }
  const upper = { 'proc/left': 'x', 'etc/hosts': '', 'etc/mine': 'm', 'srv/deep/data': null, 'srv/other': null }
  const found = changes(t, { lower, upper, mounts })
  t.same(found.traces, ['/etc/hosts', '/srv/deep', '/srv/deep/data'])
  t.same(
    found.changes.filter(line => !line.startsWith('modified /etc')),
    ['added /etc/mine', 'added /proc', 'added /proc/left', 'added /srv', 'added /srv/other'].sort(),
  )
})

t.test('a file with content, a mode that was changed, what the image has: changes', async t => {
  const lower = { 'etc/hosts': 'of the image', proc: null }
  const upper = { proc: null, 'etc/hosts': '' }
  const found = changes(t, { lower, upper, mounts }, upper => chmodSync(join(upper, 'proc'), 0o700))
  t.same(found.traces, [])
  t.ok(found.changes.includes('modified /proc') && found.changes.includes('modified /etc/hosts'), `${found.changes}`)
})
