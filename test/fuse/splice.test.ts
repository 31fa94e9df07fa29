import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { E } from '../../lib/errno.js'
import { GIVEN_ALONG } from '../../lib/fuse/handlers.js'
import { OUT_HEADER } from '../../lib/fuse/protocol.js'
import { Reply } from '../../lib/fuse/reply.js'
import { ANSWERED, Splice, TO_BE_COPIED } from '../../lib/fuse/splice.js'
import { memfd } from '../../lib/sys/memory.js'
import { OpenMode } from '../../lib/union/filesystem.js'
import { SOUND } from './mirror.js'
import { cannotMount, mounted } from './mounted.js'

const SIZE = 256 << 10

/** A splice whose replies go to a file, and what that file has. */
function toFile(t: Test): { splice: Splice; reply: Reply; said: () => Buffer } {
  const device = memfd('device')
  const reply = new Reply()
  const splice = new Splice(device, reply)
  t.teardown(() => {
    splice.close()
    closeSync(device)
  })
  return { splice, reply, said: () => readFileSync(`/proc/self/fd/${device}`) }
}

/** Bytes that differ from page to page. */
function pattern(size: number): Buffer {
  const data = Buffer.alloc(size)
  for (let at = 0; at < size; at += 4) data.writeUInt32LE(at ^ 0x5a5a5a5a, at)
  return data
}

function source(t: Test, data: Buffer): number {
  const fd = openSync(join(t.testdir({ f: '' }), 'f'), 'w+')
  writeSync(fd, data)
  t.teardown(() => {
    closeSync(fd)
  })
  return fd
}

t.test('the reply is the header and the pages of the file, from any place in it', t => {
  const { splice, said } = toFile(t)
  const data = pattern(SIZE)
  const fd = source(t, data)
  for (const [position, size] of [
    [0, SIZE],
    [SIZE / 2, SIZE / 2],
    [12_345, 100_000],
  ] as const) {
    const before = said().length
    t.equal(splice.answer(fd, position, size, 7, 9), ANSWERED)
    const reply = said().subarray(before)
    t.same(
      [0, 4, 8, 12].map(at => reply.readInt32LE(at)),
      [OUT_HEADER + size, 0, 7, 9],
    )
    t.ok(reply.subarray(OUT_HEADER).equals(data.subarray(position, position + size)))
  }
  t.end()
})

t.test('a hole reads as zeros', t => {
  const { splice, said } = toFile(t)
  const fd = source(t, Buffer.alloc(0))
  ftruncateSync(fd, SIZE)
  t.equal(splice.answer(fd, 0, SIZE, 1, 0), ANSWERED)
  t.ok(said().subarray(OUT_HEADER).equals(Buffer.alloc(SIZE)))
  t.end()
})

t.test('a file that ends before: what it has, in the reply buffer, and nothing was said', t => {
  const { splice, reply, said } = toFile(t)
  const data = pattern(SIZE)
  const fd = source(t, data)
  const rest = (n: number): Buffer => reply.buffer.subarray(OUT_HEADER, OUT_HEADER + n)
  t.equal(splice.answer(fd, 100_000, SIZE, 1, 0), SIZE - 100_000)
  t.ok(rest(SIZE - 100_000).equals(data.subarray(100_000)))
  ftruncateSync(fd, 50_001)
  t.equal(splice.answer(fd, 0, SIZE, 1, 0), 50_001, 'somebody has cut it')
  t.ok(rest(50_001).equals(data.subarray(0, 50_001)))
  t.equal(splice.answer(fd, 60_000, SIZE, 1, 0), 0)
  t.equal(said().length, 0)
  t.equal(splice.answer(fd, 0, 40_000, 1, 0), ANSWERED, 'nothing was left in the pipe')
  t.ok(said().subarray(OUT_HEADER).equals(data.subarray(0, 40_000)))
  t.end()
})

t.test('what cannot be spliced is to be copied, and is not tried again', t => {
  const { splice, said } = toFile(t)
  const fd = openSync('/proc/self/mem', 'r')
  t.teardown(() => {
    closeSync(fd)
  })
  t.ok(splice.worth(SIZE))
  t.equal(splice.answer(fd, 0, SIZE, 1, 0), TO_BE_COPIED)
  t.equal(said().length, 0)
  t.notOk(splice.worth(SIZE))
  t.end()
})

t.test('a reply that the device does not take is to be copied, and nothing of it is in the next', t => {
  const device = openSync(`/proc/self/fd/${memfd('device')}`, 'r')
  const splice = new Splice(device, new Reply())
  t.teardown(() => {
    splice.close()
    closeSync(device)
  })
  const fd = source(t, pattern(SIZE))
  t.equal(splice.answer(fd, 0, SIZE, 1, 0), TO_BE_COPIED)
  t.equal(splice.answer(fd, 0, SIZE, 1, 0), TO_BE_COPIED)
  t.equal(fstatSync(device).size, 0)
  t.end()
})

t.test('small READs are not worth it, nor those with more pages than a pipe has places', t => {
  const { splice } = toFile(t)
  t.same(
    [4096, 128 << 10, 1 << 20].map(size => splice.worth(size)),
    [false, true, false],
  )
  t.end()
})

t.test('an error of the disk in the middle of a READ is the answer to it', { skip: cannotMount }, t => {
  const m = mounted(t, { mode: OpenMode.Cached })
  writeFileSync(join(m.source, 'broken'), pattern(2 * SOUND))
  const { splice, said } = toFile(t)
  const fd = openSync(join(m.point, 'broken'), 'r')
  t.equal(splice.answer(fd, 0, 2 * SOUND, 1, 0), -E.EIO)
  closeSync(fd)
  t.equal(said().length, 0)
  t.equal(m.sh('dd if=$M/broken of=/dev/null bs=128k 2>&1 | grep -o "Input/output error"'), 'Input/output error\n')
  t.end()
})

t.test('a large file through a mount', { skip: cannotMount }, t => {
  const m = mounted(t, { mode: OpenMode.Cached })
  writeFileSync(join(m.source, 'large'), pattern(3_000_000))
  m.sh('truncate -s 5000003 $S/large; cmp $M/large $S/large; test "$(md5sum < $M/large)" = "$(md5sum < $S/large)"')
  m.sh('stat $M/large > /dev/null; truncate -s 1000001 $S/large')
  t.match(m.sh('wc -c < $M/large'), /^\d+\n$/, 'one that was cut below it neither hangs nor kills the server')
  t.end()
})

t.test('the data of a small file comes with its open', { skip: cannotMount }, t => {
  const m = mounted(t, { mode: OpenMode.Cached })
  const small = pattern(GIVEN_ALONG)
  for (const [name, size] of [
    ['fresh-none', 0],
    ['fresh-odd', 5_001],
    ['fresh-most', GIVEN_ALONG],
    ['fresh-more', GIVEN_ALONG + 1],
  ] as const)
    writeFileSync(join(m.source, name), pattern(GIVEN_ALONG + 4).subarray(0, size))
  m.sh('for f in none odd most; do cmp $M/fresh-$f $S/fresh-$f; done')
  t.equal(m.count('READ'), 0)
  m.sh('cmp $M/fresh-more $S/fresh-more')
  t.ok(m.count('READ') > 0, 'one that is larger is read')
  const behind = m.sh(`python3 -c "
import ctypes, mmap, os
fd = os.open(os.environ['M'] + '/fresh-odd', os.O_RDONLY)
at = ctypes.CDLL(None).mmap
at.restype, at.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
print(any(ctypes.string_at(at(None, 8192, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0) + 5001, 8192 - 5001)))"`)
  t.equal(behind, 'False\n', 'nothing of the kernel shows behind its end')
  writeFileSync(join(m.source, 'fresh-cut'), small)
  m.sh('stat $M/fresh-cut > /dev/null')
  truncateSync(join(m.source, 'fresh-cut'), 5_000)
  t.match(m.sh('wc -c < $M/fresh-cut'), /^\d+\n$/, 'one that was cut meanwhile')
  t.end()
})
