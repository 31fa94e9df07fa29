/** How far the kernel reads ahead in a mount, which decides how large the requests for a file's first reading are. */
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import t from 'tap'
import { MountServer } from '../../lib/mount/server.js'
import { cannotMount, workspace } from './workspace.js'

const file = (point: string): string => `/sys/class/bdi/0:${statSync(point).dev & 0xff}/read_ahead_kb`

/** Why nobody here may raise it. */
function readOnly(path: string): string | undefined {
  try {
    accessSync(path, constants.W_OK)
    return undefined
  } catch {
    return `${path} is read-only here`
  }
}

t.test('a mount reads ahead by a megabyte, whoever serves it', { skip: cannotMount }, async t => {
  const w = workspace(t)
  await w.mount()
  const reason = readOnly(file(w.point))
  if (reason !== undefined) {
    t.comment(`skipped: ${reason}`)
    return
  }
  t.equal(readFileSync(file(w.point), 'latin1').trim(), '1024', 'a process of its own')
  const other = workspace(t)
  const server = await MountServer.start(other.spec, other.point)
  t.equal(readFileSync(file(other.point), 'latin1').trim(), '1024', 'a thread of this process')
  t.equal(server.unmount(), 0)
  await server.ended
})
