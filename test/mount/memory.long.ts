/**
 * A server's memory: a walk over 1,000,000 files leaves it below 150 MB once the kernel has forgotten them, and 1,000,000 names
 * made and removed do not make it grow.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { MNT } from '../../lib/sys/constants.js'
import { mount, umount } from '../../lib/sys/mount.js'
import type { MountRecord } from '../../lib/mount/registry.js'
import { cannotMount, workspace } from './workspace.js'

const DIRECTORIES = 1000
const FILES = 1000
const MB = 1024

/** Resident memory in KiB: the program, and what it shares, included. */
function resident(record: MountRecord): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${record.pid}/status`, 'latin1'))?.[1] ?? NaN)
}

/** Has the kernel forget what it can, and waits until the server is below `limit`, which must come. The least that was seen. */
async function settled(record: MountRecord, limit: number): Promise<number> {
  let least = Infinity
  for (let i = 0; i < 600 && least >= limit; i++) {
    if (i % 100 === 0) writeFileSync('/proc/sys/vm/drop_caches', '2')
    await sleep(100)
    least = Math.min(least, resident(record))
  }
  return least
}

t.setTimeout(3_500_000)
t.test('memory', { skip: cannotMount }, async t => {
  const w = workspace(t)
  // Names on a disk would be waited for, not walked.
  if (mount('lamina-test', w.lower, 'tmpfs', 0, 'mode=755,size=4g,nr_inodes=2m') < 0) throw new Error('no tmpfs')
  t.teardown(() => void umount(w.lower, MNT.DETACH))
  const long = { timeout: 3_000_000 }
  w.python(
    `
import os
for d in range(${DIRECTORIES}):
    os.mkdir('%s/d%d' % (os.environ['L'], d))
    for f in range(${FILES}): os.mknod('%s/d%d/file-%04d' % (os.environ['L'], d, f))
`,
    long,
  )
  const record = await w.mount()
  const idle = resident(record)
  // A test of the time makes find ask for attributes.
  const found = Number(w.sh(`find "$M" -type f -newermt 2001-01-01 | wc -l`, long))
  t.equal(found, DIRECTORIES * FILES)
  const walked = resident(record)
  const forgotten = await settled(record, 150 * MB)
  t.comment(`idle ${idle / MB} MB, after the walk ${walked / MB} MB, forgotten ${forgotten / MB} MB`)
  t.ok(forgotten < 150 * MB, `${forgotten / MB} MB after the kernel has forgotten ${found} files`)

  const churn = (count: number): string =>
    w.python(
      `
import os
d = os.environ['M'] + '/churn'
os.makedirs(d, exist_ok=True)
for i in range(${count}):
    p = '%s/name-%d' % (d, i)
    os.close(os.open(p, os.O_CREAT | os.O_WRONLY))
    os.unlink(p)
`,
      long,
    )
  churn(50_000)
  const before = await settled(record, 0)
  churn(1_000_000)
  const after = await settled(record, before)
  t.comment(`before ${before / MB} MB, after ${after / MB} MB`)
  t.ok(after < before + 10 * MB, `grown by ${(after - before) / MB} MB`)
})
