/** Where an fsync is done: what is brief and nobody waits for by the serving thread, all else by a helper. */
import { fsyncSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Op } from '../../lib/fuse/protocol.js'
import { Syncs } from '../../lib/fuse/syncs.js'
import { unwrittenPages } from '../../lib/sys/file.js'
import type { JobSpec } from '../../lib/sys/job.js'

const path = join(tmpdir(), `lamina-syncs-${process.pid}`)
const fd = openSync(path, 'w')
t.teardown(() => {
  rmSync(path)
})

/** An fsync of a file of `mebibytes`. */
function sync(mebibytes: number): JobSpec {
  ftruncateSync(fd, mebibytes << 20)
  return { op: 'fsync', fd, dataOnly: false }
}

t.test('what is brief at once, much by a helper until it was just synced', t => {
  const syncs = new Syncs()
  t.ok(syncs.here(sync(1), 7, 0))
  const much = sync(100)
  writeSync(fd, Buffer.alloc(12 << 20, 1), 0, undefined, 0)
  t.notOk(syncs.here(much, 7, 0), 'much is unwritten')
  syncs.helped(7, 0)
  t.ok(syncs.here(much, 7, 500), 'not much can have been written since')
  t.notOk(syncs.here(much, 8, 500), 'that was another file')
  t.notOk(syncs.here(much, 7, 5000), 'that was long ago')
  t.end()
})

const counts = unwrittenPages(fd) >= 0
t.test('the kernel says how much is unwritten', { skip: counts ? false : 'Linux 6.5' }, t => {
  const syncs = new Syncs()
  const large = sync(100)
  fsyncSync(fd)
  t.equal(unwrittenPages(fd), 0)
  t.ok(syncs.here(large, 7, 0), 'nothing')
  writeSync(fd, Buffer.alloc(64 << 10, 2), 0, undefined, 50 << 20)
  t.equal(unwrittenPages(fd), 16)
  t.ok(syncs.here(large, 7, 0), 'little')
  t.end()
})

t.test('other jobs are for helpers', t => {
  t.notOk(new Syncs().here({ op: 'syncfs', fd }, 7, 0))
  t.notOk(new Syncs().here({ op: 'copy', from: fd, to: fd, size: 1 }, 7, 0))
  t.end()
})

t.test('a slow disk is left to helpers, and tried again', t => {
  const syncs = new Syncs()
  syncs.done(7, 0, 300)
  t.ok(syncs.here(sync(1), 7, 1e6), 'once may have been for what was written before')
  syncs.done(7, 0, 300)
  const tried = Array.from({ length: 128 }, () => syncs.here(sync(1), 7, 1e6)).filter(Boolean).length
  t.equal(tried, 2)
  for (let i = 0; i < 20; i++) syncs.done(7, 0, 0.5)
  t.ok(syncs.here(sync(1), 7, 1e6), 'it has become fast')
  t.end()
})

t.test('a disk that is fast for helpers is so here', t => {
  const syncs = new Syncs()
  for (let i = 0; i < 3; i++) syncs.done(7, 0, 300)
  let helped = 0
  for (let now = 1000; !syncs.here(sync(1), 7, now) && helped < 50; now += 10, helped++) syncs.helped(7, now + 1)
  t.ok(helped > 0 && helped < 20, `after ${helped}`)
  t.end()
})

t.test('where somebody waited meanwhile, helpers sync for a while', t => {
  const syncs = new Syncs()
  syncs.done(7, 0, 0.5)
  syncs.next(Op.RELEASE)
  t.ok(syncs.here(sync(1), 7, 0), 'nobody waits for a RELEASE')
  syncs.done(7, 0, 0.5)
  syncs.next(-1)
  syncs.next(Op.LOOKUP)
  t.ok(syncs.here(sync(1), 7, 0), 'it came after nothing had been there')
  syncs.done(7, 0, 0.5)
  syncs.next(Op.FSYNC)
  const here = Array.from({ length: 40 }, () => syncs.here(sync(1), 7, 0))
  t.equal(here.indexOf(true), 32)
  t.end()
})
