/**
 * Files whose opens the kernel does not announce (lib/fuse/unannounced.ts): what it saves, and that files behave as files although the
 * server never hears who has them open.
 */
import { lstatSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readCounters } from '../../lib/mount/counters.js'
import type { MountRecord } from '../../lib/mount/registry.js'
import { cannotMount, ended, workspace, type Workspace } from './workspace.js'

/** More than the server keeps handles of. */
const MANY = 300

async function mounted(t: Test): Promise<{ readonly w: Workspace; readonly record: MountRecord }> {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'lower text\n')
  mkdirSync(join(w.lower, 'many'))
  for (let i = 0; i < MANY; i++) writeFileSync(join(w.lower, `many/${i}`), `file ${i}\n`)
  const record = await w.mount({ ...w.spec, passthrough: false, noOpen: true })
  return { w, record }
}

t.test('opening, reading and closing what is known asks nothing', { skip: cannotMount }, async t => {
  const { w, record } = await mounted(t)
  w.sh('cat $M/many/* >/dev/null')
  const before = readCounters(record.stats)
  t.equal(before['OPEN'], 1, 'the kernel asked once')
  w.sh('for i in 1 2 3; do cat $M/many/* >/dev/null; done')
  const after = readCounters(record.stats)
  for (const name of ['OPEN', 'READ', 'RELEASE', 'FLUSH'] as const) t.equal(after[name], before[name], name)
})

t.test('the server hears nothing of opens where it must not be so', { skip: cannotMount }, async t => {
  const w = workspace(t)
  writeFileSync(join(w.lower, 'f'), 'text')
  const record = await w.mount({ ...w.spec, passthrough: false })
  w.sh('cat $M/f $M/f')
  t.equal(
    readCounters(record.stats)['OPEN'],
    2,
    'a directory lower may have immutable files, and root make some: announced',
  )
})

t.test('an open file goes on after its name is gone', { skip: cannotMount }, async t => {
  const { w } = await mounted(t)
  w.python(`
import os, mmap
os.chdir(os.environ['M'])
def hold(path, flags): return os.open(path, flags)
# Of the lower, not read before: reads on, and is written to, after the unlink.
a = hold('f', os.O_RDWR)
os.unlink('f')
assert os.pread(a, 100, 0) == b'lower text\\n'
assert os.pwrite(a, b'UPPER', 0) == 5
os.fsync(a)
assert os.pread(a, 100, 0) == b'UPPER text\\n', os.pread(a, 100, 0)
assert os.fstat(a).st_nlink == 0
# A new file of the same name is another one.
b = os.open('f', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
os.write(b, b'new')
os.ftruncate(a, 2)
assert os.fstat(a).st_size == 2 and os.pread(b, 10, 0) == b'new'
# Of the upper, written, dropped from the page cache, replaced by a rename.
os.fsync(b)
os.posix_fadvise(b, 0, 0, os.POSIX_FADV_DONTNEED)
os.rename('many/1', 'f')
assert os.pread(b, 10, 0) == b'new' and open('f').read() == 'file 1\\n'
os.write(b, b' more')
os.fsync(b)
os.posix_fadvise(b, 0, 0, os.POSIX_FADV_DONTNEED)
assert os.pread(b, 10, 0) == b'new more'
# Through a mapping, after the last descriptor is closed.
c = os.open('many/2', os.O_RDWR)
m = mmap.mmap(c, 0)
os.close(c)
os.unlink('many/2')
m[0:4] = b'FILE'
m.flush()
assert m[:] == b'FILE 2\\n'
`)
  const hidden = lstatSync(join(w.upper, 'many/2'))
  t.ok(hidden.isCharacterDevice() && hidden.rdev === 0, 'the upper has a whiteout, and no file')
})

t.test('more files at once than handles are kept', { skip: cannotMount }, async t => {
  const { w, record } = await mounted(t)
  w.python(`
import os
os.chdir(os.environ['M'] + '/many')
n = ${MANY}
files = [os.open(str(i), os.O_RDWR) for i in range(n)]
for turn in range(3):
    for i, f in enumerate(files):
        assert os.pread(f, 4, 0) == b'file', i
        os.pwrite(f, b'%d' % turn, 10)
        os.fsync(f)
        os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
for i, f in enumerate(files):
    end = os.pread(f, 100, 10)
    assert end == b'2', (i, end)
`)
  w.sh('umount $M')
  await ended(record)
  const wrong = Array.from({ length: MANY }, (_, i) => readFileSync(join(w.upper, 'many', String(i)), 'latin1')).filter(
    (text, i) => text !== `file ${i}\n`.padEnd(10, '\0') + '2',
  )
  t.strictSame(wrong, [], 'each upper file has what was written to it')
})

t.test('the first write copies up, not the open', { skip: cannotMount }, async t => {
  const { w } = await mounted(t)
  w.python(`
import os
os.chdir(os.environ['M'])
os.close(os.open('f', os.O_RDWR))
os.close(os.open('many/3', os.O_WRONLY | os.O_APPEND))
`)
  t.equal(w.sh('ls -A $U'), '', 'opened only')
  truncateSync(join(w.point, 'many/3'))
  w.sh('echo appended >> $M/f; printf x > $M/many/4')
  t.equal(readFileSync(join(w.upper, 'f'), 'latin1'), 'lower text\nappended\n')
  t.equal(readFileSync(join(w.upper, 'many/4'), 'latin1'), 'x')
  t.equal(statSync(join(w.upper, 'many/3')).size, 0)
  t.equal(readFileSync(join(w.lower, 'f'), 'latin1'), 'lower text\n')
})

t.test('a large file is appended to block by block, and read meanwhile', { skip: cannotMount }, async t => {
  const w = workspace(t)
  const size = 64 << 20
  w.sh(`yes 0123456789abcde | head -c ${size} > $L/big`)
  const record = await w.mount({ ...w.spec, passthrough: false, noOpen: true })
  t.equal(
    w.python(`
import os
f = os.open(os.environ['M'] + '/big', os.O_RDWR | os.O_APPEND)
os.write(f, b'end')
os.pread(f, 1, 0)
print(os.pread(f, 8, ${size} - 4), os.pread(f, 4, 0))
os.fsync(f)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
print(os.pread(f, 8, ${size} - 4))
`),
    `b'cde\\nend' b'0123'\nb'cde\\nend'\n`,
  )
  w.sh('umount $M')
  await ended(record)
  t.equal(w.sh('tail -c 7 $U/big; head -c $(stat -c %s $L/big) $U/big | cmp - $L/big && echo same'), 'cde\nendsame\n')
})

t.test('a copy-up that has no room is told by fsync and close', { skip: cannotMount }, async t => {
  const w = workspace(t)
  w.sh('head -c 3000000 /dev/urandom > $L/f; mount -t tmpfs -o size=2m tmpfs $U; mkdir $U/u $U/w')
  t.teardown(() => w.sh('umount $U'))
  const spec = { ...w.spec, upper: join(w.upper, 'u'), work: join(w.upper, 'w'), passthrough: false, noOpen: true }
  const record = await w.mount(spec)
  t.match(
    w.python(`
import errno, os
f = os.open(os.environ['M'] + '/f', os.O_RDWR)
os.pwrite(f, b'x', 0)
for call in (lambda: os.fsync(f), lambda: os.close(f)):
    try: call()
    except OSError as e: print(errno.errorcode[e.errno])
`),
    /^(ENOSPC|EIO)\n/,
  )
  w.sh('umount $M')
  await ended(record)
  const again = await w.mount(spec)
  t.equal(w.sh('cmp $M/f $L/f && echo same'), 'same\n', 'the file is what it was')
  w.sh('umount $M')
  await ended(again)
})
