/** What the mount promises about its lowers and about the caches of the kernel, each with a way to break it. */
import { createHash } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { readCounters, type Stats } from '../../lib/mount/counters.js'
import type { MountSpec } from '../../lib/mount/spec.js'
import { cannotMount, workspace } from './workspace.js'
import { REFUSED, writeThroughClone } from './write-through-clone.js'

const options = { skip: cannotMount }

function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}

// Regression: the kernel opens a registered backing file again with the new open's flags, so a write through an id that a
// reader of the lower had registered would land in the lower.
t.test(
  'a writer of a lower file that is held open and mapped gets a copy; its readers keep the lower',
  options,
  async t => {
    const w = workspace(t)
    const file = join(w.lower, 'f')
    writeFileSync(file, 'old '.repeat(4096))
    const before = digest(file)
    const times = statSync(file)
    const { passthrough } = await w.mount()
    if (!passthrough) t.comment('without passthrough on this kernel')
    t.equal(
      w.python(`
import mmap, os
path = os.environ['M'] + '/f'
reader = open(path, 'rb')
ino = os.stat(path).st_ino
mapped = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
assert mapped[:4] == b'old '
for way in ['r+b', 'ab']:
    with open(path, way) as writer:
        writer.write(b'new!')
fd = os.open(path, os.O_RDWR)
shared = mmap.mmap(fd, 0)
shared[4:8] = b'map!'
assert os.pread(fd, 8, 0) == b'new!map!'
assert open(path, 'rb').read(8) == b'new!map!'
assert open(path, 'rb').read()[-4:] == b'new!'
assert mapped[:8] == b'old old ', mapped[:8]
assert os.pread(reader.fileno(), 8, 0) == b'old old '
assert os.stat(path).st_ino == ino
os.truncate(path, 6)
assert open(path, 'rb').read() == b'new!ma'
assert mapped[:8] == b'old old '
print('held')
`),
      'held\n',
    )
    t.equal(digest(file), before, 'the lower is byte-identical')
    t.same(
      [statSync(file).mtimeMs, statSync(file).atimeMs, statSync(file).ctimeMs],
      [times.mtimeMs, times.atimeMs, times.ctimeMs],
    )
  },
)

t.test('a running program of the lower can be replaced, and goes on running', options, async t => {
  const w = workspace(t)
  w.sh('cp /bin/sleep $L/prog')
  const before = digest(join(w.lower, 'prog'))
  await w.mount()
  w.sh(`$M/prog 1000 & pid=$!; until test "$(readlink /proc/$pid/exe)" = $M/prog; do sleep 0.02; done
    if echo x >> $M/prog; then :; fi
    cp /bin/true $M/new; mv $M/new $M/prog; $M/prog; kill -0 $pid; kill $pid`)
  t.equal(digest(join(w.lower, 'prog')), before)
})

t.test('the clone that a lower is reached through refuses every write in the kernel', options, t => {
  const w = workspace(t)
  t.strictSame(writeThroughClone(w.lower), REFUSED)
  t.end()
})

t.test('reading through the mount moves no atime of the lower', options, async t => {
  const w = workspace(t)
  w.sh('mkdir $L/d; echo data > $L/d/f; ln -s f $L/d/l; touch -a -d @1 $L/d/f $L/d $L; touch -h -a -d @1 $L/d/l')
  await w.mount()
  w.sh('cat $M/d/f $M/d/l; ls -la $M/d; readlink $M/d/l; grep -r data $M')
  t.equal(w.sh('stat -c %X $L $L/d $L/d/f $L/d/l'), '1\n1\n1\n1\n')
})

const modes: readonly [string, Partial<MountSpec>][] = [
  ['passthrough', {}],
  ['cached', { passthrough: false, writeback: false }],
  ['write-back', { passthrough: false }],
]

for (const [name, spec] of modes) {
  t.test(`a write by another user clears set-id bits and file capabilities (${name})`, options, async t => {
    const w = workspace(t)
    for (const each of ['upper', 'lower'])
      w.sh(`cd $${each === 'upper' ? 'U' : 'L'}; cp /bin/true ${each}; chmod 6777 ${each}
        setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 ${each}`)
    await w.mount({ ...w.spec, ...spec })
    for (const file of ['upper', 'lower']) {
      t.equal(w.sh(`stat -c %a $M/${file}`), '6777\n')
      w.sh(`getfattr -n security.capability $M/${file}`)
      w.sh(`echo x >> $M/${file}`, { uid: 1000, gid: 1000 })
      t.equal(w.sh(`stat -c %a $M/${file}`), '777\n', `${file}: set-id bits`)
      t.throws(() => w.sh(`getfattr -n security.capability $M/${file}`), /No such attribute/, `${file}: capabilities`)
    }
    t.equal(w.sh('stat -c %a $L/lower'), '6777\n')
    w.sh('getfattr -n security.capability $L/lower')
  })

  t.test(`truncating and changing the owner clear them too (${name})`, options, async t => {
    const w = workspace(t)
    w.sh('for f in a b c; do cp /bin/true $L/$f; chmod 6777 $L/$f; done')
    await w.mount({ ...w.spec, ...spec })
    w.sh('truncate -s 3 $M/a; : > $M/b', { uid: 1000, gid: 1000 })
    w.sh('chown 1000:1000 $M/c')
    t.equal(w.sh('stat -c %a $M/a $M/b $M/c'), '777\n777\n777\n')
  })

  t.test(`mtime and size are right at once after each way of writing (${name})`, options, async t => {
    const w = workspace(t)
    writeFileSync(join(w.lower, 'f'), 'x'.repeat(8192))
    chmodSync(join(w.lower, 'f'), 0o666)
    await w.mount({ ...w.spec, ...spec })
    w.python(`
import mmap, os
path = os.environ['M'] + '/f'
def aged():
    os.utime(path, (1, 1))
    assert os.stat(path).st_mtime == 1
def fresh(what):
    assert os.stat(path).st_mtime > 1e9, what
aged()
with open(path, 'r+b') as f:
    f.write(b'y')
fresh('write')
aged()
fd = os.open(path, os.O_RDWR)
m = mmap.mmap(fd, 0)
m[0] = 65
m.flush()
fresh('mapping')
os.close(fd)
aged()
m[1] = 66
m.flush()
fresh('mapping after close')
m.close()
with open(path, 'ab') as f:
    f.write(b'z')
assert os.stat(path).st_size == 8193
aged()
os.truncate(path, 10)
fresh('truncate')
assert os.stat(path).st_size == 10
assert open(path, 'rb').read(3) == b'ABx'
`)
  })
}

/** The kernel may drop its caches at any time, for want of memory or because somebody asks: so often do we try again. */
const UNDISTURBED = 10

t.test('a second walk of a warm tree makes no request', options, async t => {
  const w = workspace(t)
  w.python(`
import os
for d in range(100):
    base = os.environ['L'] + '/d%d' % d
    os.mkdir(base)
    for f in range(100):
        open(base + '/f%d' % f, 'w').close()
`)
  const record = await w.mount()
  const walk = `import os
n = 0
for base, dirs, files in os.walk(os.environ['M']):
    for name in dirs + files:
        os.lstat(base + '/' + name)
        n += 1
print(n)`
  t.equal(w.python(walk), '10100\n')
  w.python(walk)
  const made: Stats[] = []
  for (let i = 0; i < UNDISTURBED; i++) {
    const before = requests(readCounters(record.stats))
    t.equal(w.python(walk), '10100\n')
    made.push(requests(readCounters(record.stats)))
    if (made.at(-1)?.['all'] === before['all']) return
  }
  t.fail('each walk made requests', { made })
})

t.test('nor do the absolute paths of another user, whatever the ACLs', options, async t => {
  const w = workspace(t)
  w.sh('mkdir $L/d $L/tree; for i in $(seq 20); do echo $i > $L/d/f$i; done; echo real > $L/tree/f')
  const record = await w.mount()
  const look = 'for i in $(seq 20); do test -f $M/d/f$i; done; cat $M/tree/f'
  const user = { uid: 1000, gid: 1000 }
  t.equal(w.sh(look, user), 'real\n')
  w.sh('for i in $(seq 20); do test -f $M/d/f$i; done', user)
  const made: unknown[] = []
  for (let i = 0; i < UNDISTURBED; i++) {
    const before = pick(readCounters(record.stats))
    w.sh('for i in $(seq 20); do test -f $M/d/f$i; done', user)
    made.push(before, pick(readCounters(record.stats)))
    if (isDeepStrictEqual(made.at(-1), before)) return
  }
  t.fail('each time there were requests', { made })
})

/** `stats` with the sum of what are requests in `all`. */
function requests(stats: Stats): Stats {
  const all = Object.entries(stats).reduce((sum, [name, n]) => (/^[A-Z]/.test(name) ? sum + n : sum), 0)
  return { ...stats, all }
}

function pick({ LOOKUP, GETATTR, GETXATTR }: Stats): Partial<Stats> {
  return { LOOKUP, GETATTR, GETXATTR } as Partial<Stats>
}

t.test('reading a large file makes no READ request with passthrough', options, async t => {
  const w = workspace(t)
  w.sh('head -c 30000000 /dev/urandom > $L/big')
  const { stats, passthrough } = await w.mount()
  w.sh('cmp $L/big $M/big; cat $M/big $M/big > /dev/null')
  if (passthrough) t.equal(readCounters(stats)['READ'], undefined)
  else t.pass('no passthrough on this kernel')
})
