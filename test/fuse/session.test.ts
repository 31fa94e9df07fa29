import { chmodSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { OpenMode } from '../../lib/union/filesystem.js'
import { cannotMount, mounted } from './mounted.js'

const options = { skip: cannotMount }

for (const [name, mode] of Object.entries(OpenMode)) {
  t.test(`files are made, changed and removed through the mount (${name} mode)`, options, async t => {
    const m = mounted(t, { mode })
    m.sh(`
      cd $M; echo one > a; cat a; mkdir d; mv a d/b; ln d/b c; ln -s d/b l; echo two >> l; truncate -s 3 c
      test "$(cat l)" = one; mkfifo f; mknod n c 1 3; rm d/b; rmdir slow; chmod 640 c; chown 12:34 c
      touch -d @1234567890.123456789 c; setfattr -n user.k -v v c; dd if=/dev/zero of=big bs=1M count=5 status=none`)
    t.same(readdirSync(m.source).sort(), ['big', 'c', 'd', 'f', 'l', 'n'])
    t.equal(
      m.sh(`stat -c '%a %u %g %s %.9Y %h' $M/c $S/c; getfattr --only-values -n user.k $M/c; stat -c '%t %T %F' $M/n`),
      `640 12 34 3 1234567890.123456789 1\n`.repeat(2) + 'v1 3 character special file\n',
    )
    m.sh(`cmp $M/big $S/big; test "$(stat -fc %T $M)" = fuseblk -o "$(stat -fc %T $M)" = fuse`)
    const state = await m.unmount()
    t.equal(state.outcome, 'ended')
    t.same(state.lines, [])
  })
}

t.test('a mount on Linux 5.4: no second word of flags, no passthrough, nothing that came later', options, async t => {
  const m = mounted(t, { mode: OpenMode.Cached, linux54: true })
  chmodSync(m.source, 0o777)
  m.sh(`
    cd $M; echo one > a; cat a; mkdir d; mv a d/b; ln d/b c; ln -s d/b l; echo two >> l; truncate -s 3 c; ls -la . d
    dd if=/dev/zero of=big bs=1M count=5 status=none; cmp big $S/big; setfattr -n user.k -v v c; chmod 6777 c; umask 027; : > masked`)
  t.equal(m.sh(`getfattr --only-values -n user.k $M/c; stat -c ' %a' $M/masked`), 'v 640\n')
  m.sh(`echo more >> $M/c; python3 -c "
import mmap, os
fd = os.open(os.environ['M'] + '/big', os.O_RDWR)
mmap.mmap(fd, 0)[0:4] = b'mmap'
os.close(fd)"`)
  t.equal(m.sh(`head -c 4 $S/big; cat $M/c; cd $M; echo *`), 'mmaponemore\nbig c d l masked slow\n')
  m.sh(`echo more >> $M/c`, { uid: 1000, gid: 1000 })
  t.equal(m.sh('stat -c %a $M/c $S/c'), '777\n777\n', 'a write by another user has cleared the set-id bits')
  const { agreed, passthrough, lines } = await m.state()
  t.match(agreed, {
    minor: 31,
    passthrough: false,
    killPrivV2: false,
    setxattrExt: false,
    suppGroups: false,
    flags2: 0,
  })
  t.equal(agreed.flags & ~0x03fffffb, 0, 'nothing is asked for that was not offered')
  t.equal(passthrough, false)
  t.same(lines, [])
})

t.test('a second walk of the tree makes no request', options, async t => {
  const m = mounted(t)
  for (let d = 0; d < 10; d++) {
    mkdirSync(join(m.source, `dir${d}`))
    for (let f = 0; f < 30; f++) writeFileSync(join(m.source, `dir${d}`, `file${f}`), '')
  }
  const walk = (): string => m.sh(`find $M -printf '%p %s %u\\n' | sort | md5sum; test ! -e $M/none; ls -R $M | wc -l`)
  const first = walk()
  walk()
  const before = await m.state()
  const count = (): number[] =>
    (['LOOKUP', 'GETATTR', 'READDIR', 'READDIRPLUS', 'OPENDIR', 'RELEASEDIR', 'GETXATTR'] as const).map(m.count)
  // The kernel may drop its caches at any time: of some walks one has to be undisturbed.
  const made: number[][] = []
  do {
    made.push(count())
    t.equal(walk(), first)
  } while (!isDeepStrictEqual(count(), made.at(-1)) && made.length < 10)
  t.same(count(), made.at(-1))
  t.ok(m.count('OPENDIR') <= 1, 'OPENDIR is asked for once at most')
  t.ok(before.lookups.length >= 310)
})

t.test('forgotten inodes leave no count behind', options, async t => {
  const m = mounted(t)
  for (let f = 0; f < 500; f++) writeFileSync(join(m.source, `file${f}`), '')
  m.sh(`ls -l $M > /dev/null; cat $M/file1 $M/file2; echo 2 > /proc/sys/vm/drop_caches`)
  let state = await m.state()
  for (let i = 0; i < 1000 && state.lookups.length >= 10; i++) {
    await sleep(20)
    state = await m.state()
  }
  t.ok(state.lookups.length < 10, `${state.lookups.length} inodes are still counted`)
  t.ok(m.count('FORGET') + m.count('BATCH_FORGET') > 0)
})

t.test('reads and writes do not reach the server in passthrough mode', options, async t => {
  const m = mounted(t)
  const { passthrough } = await ready(m)
  if (!passthrough) {
    t.pass('the kernel has no passthrough')
    return
  }
  m.sh(`head -c 3000000 /dev/urandom > $S/in; cat $M/in > $M/out; cmp $S/in $S/out; cat $M/out > /dev/null`)
  t.equal(m.count('READ'), 0)
  t.equal(m.count('WRITE'), 0)
})

async function ready(m: ReturnType<typeof mounted>): ReturnType<typeof m.state> {
  m.sh(`stat $M > /dev/null`)
  return m.state()
}

t.test('large reads and writes come in pieces of a MiB in cached mode', options, async t => {
  const m = mounted(t, { mode: OpenMode.Cached, wishes: { passthrough: false } })
  m.sh(`dd if=/dev/zero of=$M/w bs=4M count=4 status=none`)
  t.equal(m.count('WRITE'), 16)
  m.sh(`head -c 4000000 /dev/urandom > $S/r; cmp $M/r $S/r`)
})

for (const [name, wishes] of [
  ['passthrough', {}],
  ['cached', { passthrough: false }],
  ['write-back', { passthrough: false, writeback: true }],
] as const) {
  t.test(`a write by another user clears set-id bits (${name})`, options, async t => {
    const mode = name === 'passthrough' ? OpenMode.Passthrough : OpenMode.Cached
    const m = mounted(t, { mode, wishes })
    writeFileSync(join(m.source, 'p'), 'old')
    chmodSync(m.source, 0o777)
    chmodSync(join(m.source, 'p'), 0o6777)
    m.sh(`echo new >> $M/p; sync $M/p`)
    if (name !== 'write-back') t.equal(statSync(join(m.source, 'p')).mode & 0o7777, 0o6777, 'root keeps them')
    m.sh(`echo new >> $M/p; sync $M/p`, { uid: 1000, gid: 1000 })
    t.equal(statSync(join(m.source, 'p')).mode & 0o6000, 0)
    t.equal(m.sh(`stat -c %a $M/p`), '777\n')
  })
}

t.test('mtime is right at once after a write through a mapping', options, async t => {
  const m = mounted(t)
  writeFileSync(join(m.source, 'mapped'), 'x'.repeat(4096))
  const script = `
import mmap, os, time
path = os.environ['M'] + '/mapped'
os.utime(path, (1, 1))
assert os.stat(path).st_mtime == 1
f = open(path, 'r+b')
m = mmap.mmap(f.fileno(), 0)
assert os.stat(path).st_mtime == 1
m[0] = 65
assert os.stat(path).st_mtime > 1e9, os.stat(path).st_mtime
os.utime(path, (1, 1))
m.flush(); m[1] = 66
f.close()
assert os.stat(path).st_mtime > 1e9, 'still mapped'
m.close()
os.utime(path, (2, 2))
assert os.stat(path).st_mtime == 2
`
  m.sh(`python3 -c "$P"`.replace('$P', script.replaceAll('"', '\\"')))
  t.equal(m.sh('head -c 2 $S/mapped'), 'AB')
})

t.test('files of other users belong to them, with the group of a setgid directory they are in', options, async t => {
  const m = mounted(t)
  chmodSync(m.source, 0o777)
  m.sh(`umask 027; touch $M/mine; mkdir $M/dir; ln -s x $M/link`, { uid: 1000, gid: 1001 })
  t.equal(m.sh(`cd $S; stat -c '%u %g %a' mine dir link`), `1000 1001 640\n1000 1001 750\n1000 1001 777\n`)
})

t.test('fsync costs nothing when volatile, and reaches the file otherwise', options, async t => {
  const script = `import os\nfd = os.open(os.environ['M'] + '/f', os.O_CREAT | os.O_WRONLY)\nfor i in range(5): os.fsync(fd)`
  for (const volatile of [true, false]) {
    const m = mounted(t, { volatile })
    m.sh(`python3 -c "${script}"`)
    t.equal(m.count('FSYNC'), volatile ? 1 : 5)
    t.ok(m.count('FLUSH') <= 1)
    await m.unmount()
  }
})

t.test('a request that waits for a job does not hold up others, and is answered after it', options, async t => {
  const m = mounted(t)
  writeFileSync(join(m.source, 'slow', 'f'), 'late')
  writeFileSync(join(m.source, 'fast'), 'soon')
  t.equal(m.sh(`cat $M/slow/f $M/fast & cat $M/slow/f; wait`).match(/late/g)?.length, 2)
  t.ok(m.count('parked') >= 1)
  m.sh(`cat $M/slow/f > /dev/null`)
})

t.test('an fsync that is brief is done before the answer, without a helper', options, async t => {
  const m = mounted(t)
  mkdirSync(join(m.source, 'synced'))
  writeFileSync(join(m.source, 'synced', 'f'), 'on disk')
  t.equal(m.sh(`cat $M/synced/f`), 'on disk')
  t.equal(m.count('parked'), 0)
})

t.test('a bug in the filesystem is EIO for one call and a line in the log', options, async t => {
  const m = mounted(t)
  t.throws(() => m.sh('stat $M/throws'), /Input\/output error/)
  t.match((await m.state()).lines, [/the filesystem has a bug/])
  m.sh('stat $M/slow')
})

t.test('ioctl data goes both ways; what is not known is ENOTTY', options, async t => {
  const m = mounted(t)
  m.sh(`touch $M/f; python3 -c "
import fcntl, os, errno
fd = os.open(os.environ['M'] + '/f', os.O_RDONLY)
assert not os.isatty(fd)
try: fcntl.ioctl(fd, 0x80086601, b'x' * 8)
except OSError as e: assert e.errno == errno.ENOTTY, e
"`)
})

t.test('the server ends when the mount is gone, after serving what is still open', options, async t => {
  const m = mounted(t, { mode: OpenMode.Cached })
  writeFileSync(join(m.source, 'f'), 'still here')
  t.equal(m.sh(`exec 3< $M/f; umount -l $M; cat <&3`), 'still here')
  const state = await m.unmount()
  t.equal(state.outcome, 'ended')
})
