/** The promises about large trees and files at their full size; guards.test.ts has them small. */
import t from 'tap'
import { readCounters } from '../../lib/mount/counters.js'
import { cannotMount, workspace } from './workspace.js'

const options = { skip: cannotMount }

t.test('walking a warm tree of 100,000 files again makes no request', options, async t => {
  const w = workspace(t)
  w.python(`
import os
for d in range(1000):
    base = os.environ['L'] + '/d%d' % d
    os.mkdir(base)
    for f in range(100):
        open(base + '/f%d' % f, 'w').close()
`)
  const record = await w.mount()
  // Not find(1), which asks statfs(2) besides, and that is never cached.
  const walk = (): string =>
    w.python(`
import os
n = 1
for base, dirs, files in os.walk(os.environ['M']):
    for name in dirs + files:
        os.lstat(base + '/' + name)
        n += 1
print(n)`)
  const asked = (): number =>
    Object.entries(readCounters(record.stats)).reduce((sum, [name, n]) => (/^[A-Z]/.test(name) ? sum + n : sum), 0)
  walk()
  walk()
  // Others on the machine may drop the kernel's caches meanwhile: of three walks one has to be undisturbed.
  const made: number[] = []
  for (let i = 0; i < 3 && made.at(-1) !== 0; i++) {
    const before = asked()
    t.equal(walk(), '101001\n')
    made.push(asked() - before)
  }
  t.equal(made.at(-1), 0, `requests: ${made.join(', ')}`)
})

t.test('a warm file of 1 GiB is read without a request for its data', options, async t => {
  const w = workspace(t)
  w.sh('head -c 1073741824 /dev/zero | tr "\\0" x > $L/big')
  const record = await w.mount()
  if (!record.passthrough) {
    t.pass('no passthrough on this kernel')
    return
  }
  const best = w.python(`
import os, time
def read(path):
    fd, buffer, start = os.open(path, os.O_RDONLY), bytearray(1 << 20), time.perf_counter()
    while os.readv(fd, [buffer]): pass
    os.close(fd)
    return time.perf_counter() - start
times = [(read(os.environ['L'] + '/big'), read(os.environ['M'] + '/big')) for _ in range(9)]
print('%.2f' % (min(t[0] for t in times) / min(t[1] for t in times)))`)
  t.comment(`speed through the mount against direct: ${best.trim()}`)
  t.equal(readCounters(record.stats)['READ'], undefined)
})
