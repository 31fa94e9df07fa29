/**
 * Owns what only several processes can show: locks of every kind between them, and direct writes beside cached reads. Each
 * case is a Python program that asserts for itself, run in the case's directory: on a plain directory it must hold too.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Case, Context, Test } from '../case.js'
import { file } from '../population.js'

/** `other(f)` runs f in another process and gives what it returns; `taken` tries a lock and says whether it is another's. */
const HEAD = `
import errno, fcntl, mmap, os, struct, sys
def other(f):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try: os.write(w, repr(f()).encode())
        finally: os._exit(0)
    os.close(w)
    said = b''
    while True:
        part = os.read(r, 65536)
        if not part: break
        said += part
    os.close(r)
    os.waitpid(pid, 0)
    return eval(said)
def taken(f):
    try: f()
    except OSError as e:
        assert e.errno in (errno.EAGAIN, errno.EACCES), e
        return True
    return False
EX, SH, UN, NB = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_UN, fcntl.LOCK_NB
def record(fd, how, kind, start, length):
    return struct.unpack('hhqqi4x', fcntl.fcntl(fd, how, struct.pack('hhqqi4x', kind, os.SEEK_SET, start, length, 0)))
def same(a, b, what=''): assert a == b, '%s: %r is not %r' % (what, a, b)
`

function python(t: Test, c: Context, program: string): void {
  const run = spawnSync('python3', ['-c', HEAD + program], {
    cwd: join(c.tree.path ?? '', c.base),
    encoding: 'utf8',
    timeout: 60_000,
  })
  if (run.error !== undefined && 'code' in run.error && run.error.code === 'ENOENT') t.comment('skip: needs python3')
  else t.equal(run.status, 0, run.stderr === '' ? 'holds' : run.stderr)
}

export const processCases: readonly Case[] = [
  {
    title: 'record locks between processes: by ranges, shared and exclusive, and gone with any close of the file',
    kernel: true,
    items: [file('f', '0123456789'.repeat(20))],
    run: (t, c) =>
      python(
        t,
        c,
        `
fd = os.open('f', os.O_RDWR)
def tries(kind, start, length):
    def run():
        own = os.open('f', os.O_RDWR)
        return taken(lambda: fcntl.lockf(own, kind | NB, length, start))
    return other(run)
fcntl.lockf(fd, EX, 10, 20)
same(tries(EX, 20, 10), True, 'the range')
same(tries(SH, 29, 1), True, 'its last byte, shared')
same(tries(EX, 0, 20), False, 'before it')
same(tries(EX, 30, 0), False, 'behind it')
same(tries(EX, 0, 0), True, 'everything')
found = other(lambda: record(os.open('f', os.O_RDWR), fcntl.F_GETLK, fcntl.F_WRLCK, 0, 0))
same((found[0], found[2], found[3], found[4]), (fcntl.F_WRLCK, 20, 10, os.getpid()), 'who holds it')
fcntl.lockf(fd, UN, 5, 22)
same(tries(EX, 22, 5), False, 'a piece given back')
same((tries(EX, 21, 1), tries(EX, 28, 1)), (True, True), 'both ends are kept')
fcntl.lockf(fd, SH, 10, 20)
same((tries(SH, 20, 10), tries(EX, 20, 10)), (False, True), 'shared')
os.pwrite(fd, b'x', 0)
os.fchmod(fd, 0o600)
same(tries(EX, 20, 10), True, 'after a write and a chmod')
os.close(os.open('f', os.O_RDONLY))
same(tries(EX, 20, 10), False, 'any close of the file by its holder gives all back')
`,
      ),
  },
  {
    title:
      'locks of open file descriptions: between descriptors of one process, kept by a fork, gone with the last close',
    kernel: true,
    items: [file('f', 'text')],
    run: (t, c) =>
      python(
        t,
        c,
        `
a, b = os.open('f', os.O_RDWR), os.open('f', os.O_RDWR)
def lock(fd, kind, start=0, length=0): return record(fd, fcntl.F_OFD_SETLK, kind, start, length)
lock(a, fcntl.F_WRLCK, 0, 10)
same(taken(lambda: lock(b, fcntl.F_WRLCK, 5, 1)), True, 'by another descriptor of this process')
same(taken(lambda: lock(b, fcntl.F_WRLCK, 10, 5)), False, 'beside it')
same(record(b, fcntl.F_OFD_GETLK, fcntl.F_RDLCK, 0, 1)[0], fcntl.F_WRLCK, 'it can be asked for')
same(other(lambda: taken(lambda: lock(a, fcntl.F_WRLCK, 0, 10))), False, 'a child has the same description')
same(other(lambda: taken(lambda: fcntl.lockf(os.open('f', os.O_RDWR), EX | NB))), True, 'record locks respect it')
os.close(os.open('f', os.O_RDWR))
same(taken(lambda: lock(b, fcntl.F_WRLCK, 0, 1)), True, 'another close takes nothing away')
kept = os.dup(a)
os.close(a)
same(taken(lambda: lock(b, fcntl.F_WRLCK, 0, 1)), True, 'a duplicate keeps it')
os.close(kept)
same(taken(lambda: lock(b, fcntl.F_WRLCK, 0, 1)), False, 'gone with the last')
`,
      ),
  },
  {
    title: 'flock between processes: exclusive, shared, changed, inherited, independent of record locks',
    kernel: true,
    items: [file('f', 'text')],
    run: (t, c) =>
      python(
        t,
        c,
        `
fd = os.open('f', os.O_RDWR)
def tries(kind): return other(lambda: taken(lambda: fcntl.flock(os.open('f', os.O_RDONLY), kind | NB)))
fcntl.flock(fd, EX)
same((tries(SH), tries(EX)), (True, True), 'exclusive')
os.pwrite(fd, b'x', 0); os.ftruncate(fd, 2); os.fchown(fd, 0, 0)
same(tries(SH), True, 'after changes')
fcntl.flock(fd, SH)
same((tries(SH), tries(EX)), (False, True), 'turned into a shared one')
same(other(lambda: fcntl.flock(fd, UN)), None, 'a child gives it back')
same(tries(EX), False, 'free')
fcntl.flock(fd, EX)
os.rename('f', 'g')
same(other(lambda: taken(lambda: fcntl.flock(os.open('g', os.O_RDONLY), EX | NB))), True, 'under its new name')
os.close(fd)
same(other(lambda: taken(lambda: fcntl.flock(os.open('g', os.O_RDONLY), EX | NB))), False, 'gone with the close')
`,
      ),
  },
  {
    title: 'a lock waits for its turn, and is taken away from one who is killed',
    kernel: true,
    items: [file('f', 'text')],
    run: (t, c) =>
      python(
        t,
        c,
        `
import signal
ready, go = os.pipe()
pid = os.fork()
if pid == 0:
    fcntl.lockf(os.open('f', os.O_RDWR), EX)
    os.write(go, b'!')
    signal.pause()
os.read(ready, 1)
fd = os.open('f', os.O_RDWR)
same(taken(lambda: fcntl.lockf(fd, EX | NB)), True, 'held')
waiter = os.fork()
if waiter == 0:
    fcntl.lockf(os.open('f', os.O_RDWR), EX)
    os._exit(7)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
same(os.WEXITSTATUS(os.waitpid(waiter, 0)[1]), 7, 'the one who waited got it')
fcntl.lockf(fd, EX | NB)
`,
      ),
  },
  {
    title: 'a wait for a lock ends with a signal: EINTR for who handles it, and death for who does not',
    kernel: true,
    items: [file('f', 'text')],
    run: (t, c) =>
      python(
        t,
        c,
        `
import ctypes, resource, signal, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
libc = ctypes.CDLL(None, use_errno=True)
held = os.open('f', os.O_RDWR)
fcntl.flock(held, EX)
fcntl.lockf(held, EX)
waits = struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
ways = [lambda fd: libc.flock(fd, EX), lambda fd: libc.fcntl(fd, fcntl.F_SETLKW, waits)]
calls = {'x86_64': ('73', '72'), 'aarch64': ('32', '25')}[os.uname().machine]
for way, call in zip(ways, calls):
    for deadly, sent in (False, signal.SIGUSR1), (True, signal.SIGTERM), (True, signal.SIGKILL), (True, signal.SIGQUIT):
        waiter = os.fork()
        if waiter == 0:
            signal.signal(signal.SIGUSR1, lambda *a: None)
            fd = os.open('f', os.O_RDWR)
            os._exit(ctypes.get_errno() if way(fd) < 0 else 99)
        while open('/proc/%d/syscall' % waiter).read().split()[0] != call: time.sleep(0.01)
        os.kill(waiter, sent)
        status = os.waitpid(waiter, 0)[1]
        if deadly: same(os.WTERMSIG(status), sent, call)
        else: same(os.WEXITSTATUS(status), errno.EINTR, call)
fcntl.lockf(held, UN)
fcntl.flock(held, UN)
same(other(lambda: [taken(lambda: fcntl.flock(os.open('f', os.O_RDWR), EX | NB)),
  taken(lambda: fcntl.lockf(os.open('f', os.O_RDWR), EX | NB))]), [False, False], 'nobody waits any more')
`,
      ),
  },
  {
    title: 'a lock of a reader that changes owner, mode and times of a file of the lower stays its lock',
    kernel: true,
    items: [file('f', 'text')],
    run: (t, c) =>
      python(
        t,
        c,
        `
fd = os.open('f', os.O_RDONLY)
fcntl.flock(fd, SH)
fcntl.lockf(fd, SH)
os.fchmod(fd, 0o640); os.utime('f', (1, 2)); os.chown('f', 0, 0); os.link('f', 'g')
def tries():
    own = os.open('g', os.O_RDONLY)
    return taken(lambda: fcntl.flock(own, EX | NB)), record(own, fcntl.F_GETLK, fcntl.F_RDLCK, 0, 0)[0]
same(other(tries)[0], True, 'flock')
same(other(lambda: record(os.open('f', os.O_RDONLY), fcntl.F_OFD_GETLK, fcntl.F_WRLCK, 0, 0)[0]), fcntl.F_RDLCK, 'record')
`,
      ),
  },
  {
    title: 'direct writes, one over the other, beside cached readers: what was written is what is read (451)',
    kernel: true,
    items: [file('f', Buffer.alloc(655_360, 'z'))],
    run: (t, c) =>
      python(
        t,
        c,
        `
import signal
SIZE, BLOCK = 655360, 65536
readers = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        while True:
            fd = os.open('f', os.O_RDONLY)
            while os.read(fd, 131072): pass
            os.close(fd)
    readers.append(pid)
try:
    try: fd = os.open('f', os.O_RDWR | os.O_DIRECT)
    except OSError as e:
        assert e.errno == errno.EINVAL, e
        fd = os.open('f', os.O_RDWR)
    page = mmap.mmap(-1, BLOCK)
    for cycle in range(24):
        for at in range(0, SIZE, BLOCK):
            page[:] = bytes([97 + (cycle + at // BLOCK) % 26]) * BLOCK
            same(os.pwrite(fd, page, at), BLOCK, 'pwrite')
        check = os.open('f', os.O_RDONLY)
        for at in range(0, SIZE, BLOCK):
            got = os.pread(check, BLOCK, at)
            same(got == bytes([97 + (cycle + at // BLOCK) % 26]) * BLOCK, True, 'cycle %d at %d' % (cycle, at))
        os.close(check)
finally:
    for pid in readers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
`,
      ),
  },
]
