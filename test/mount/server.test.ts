import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { bytesOf } from '../../lib/bytes.js'
import { MountServer } from '../../lib/mount/server.js'
import { AT, MOVE_MOUNT } from '../../lib/sys/constants.js'
import { close } from '../../lib/sys/file.js'
import { moveMount, umount } from '../../lib/sys/mount.js'
import { cannotMount, workspace } from './workspace.js'

const options = { skip: cannotMount }

t.test('a thread of this process serves a mount that this process uses', options, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'lower')
  const server = await MountServer.start(w.spec, w.point)
  t.equal(readFileSync(join(w.point, 'f'), 'utf8'), 'lower')
  writeFileSync(join(w.point, 'g'), 'upper')
  t.equal(readFileSync(join(w.upper, 'g'), 'utf8'), 'upper')
  t.ok((server.stats()['CREATE'] ?? 0) > 0)
  t.equal(server.unmount(), 0)
  await server.ended
  t.same(readdirSync(w.point), [])
})

t.test('a detached mount is in no tree until it is put there, and ends with its last place', options, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'lower')
  const server = await MountServer.startDetached(w.spec)
  t.same(readdirSync(w.point), [])
  const r = moveMount(server.mountFd, '', AT.FDCWD, bytesOf(w.point), MOVE_MOUNT.F_EMPTY_PATH)
  t.equal(r, 0)
  t.equal(readFileSync(join(w.point, 'f'), 'utf8'), 'lower')
  close(server.mountFd)
  t.equal(readFileSync(join(w.point, 'f'), 'utf8'), 'lower')
  t.equal(umount(bytesOf(w.point)), 0)
  await server.ended
})

t.test('the upper is free when the server has ended', options, async t => {
  const w = workspace(t)
  for (let i = 0; i < 3; i++) {
    const server = await MountServer.start(w.spec, w.point)
    mkdirSync(join(w.point, `d${i}`))
    server.unmount()
    await server.ended
  }
  t.same(readdirSync(w.upper).sort(), ['d0', 'd1', 'd2'])
})

t.test('what cannot be mounted is thrown with its code, and no thread stays', options, async t => {
  const w = workspace(t)
  await t.rejects(MountServer.start({ lowers: [{ kind: 'directory', path: join(w.base, 'none') }] }, w.point), {
    code: 'LOWER_NOT_FOUND',
  })
  const server = await MountServer.start(w.spec, w.point)
  mkdirSync(join(w.base, 'second'))
  await t.rejects(MountServer.start(w.spec, join(w.base, 'second')), { code: 'UPPER_IN_USE' })
  server.unmount()
  await server.ended
})
