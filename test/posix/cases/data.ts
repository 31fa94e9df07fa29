/** Owns what must hold for file contents: read, write, append, holes, space, copying. */
import { FALLOC, O, SEEK } from '../../../lib/sys/constants.js'
import { contents, fails, lstat, ok, outcome, put, type Case, type Test } from '../case.js'
import { file } from '../population.js'
import type { Vfs } from '../vfs.js'

const BLOCK = 4096
const blocks = (text: string): Buffer => Buffer.concat(text.split('').map(c => Buffer.alloc(BLOCK, c)))

/** A file's blocks, each as the character it is full of; `0` for zeroes, `?` for a mixture. */
function shape(t: Test, fs: Vfs, path: string): string {
  const st = lstat(t, fs, path)
  const fd = fs.open(path, O.RDONLY)
  const data = fs.pread(fd, st.size, 0)
  fs.close(fd)
  if (typeof data === 'number') return outcome(data)
  let text = ''
  for (let at = 0; at < data.length; at += BLOCK) {
    const block = data.subarray(at, at + BLOCK)
    const first = block[0] ?? 0
    text += block.every(b => b === first) ? (first === 0 ? '0' : String.fromCharCode(first)) : '?'
  }
  return text
}

export const dataCases: readonly Case[] = [
  {
    title: 'writes at the start, in the middle, over the end and beyond it',
    items: [file('f', '0123456789')],
    run(t, { fs, tree }) {
      const fd = fs.open('f', O.RDWR)
      for (const [text, at] of [
        ['AB', 0],
        ['CD', 4],
        ['EFG', 9],
        ['H', 15],
      ] as const)
        t.equal(fs.pwrite(fd, Buffer.from(text), at), text.length)
      const expected = 'AB23CD678EFG\0\0\0H'
      t.equal((fs.pread(fd, 100, 0) as Buffer).toString('latin1'), expected, 'by the handle')
      t.equal(contents(fs, 'f'), expected, 'by a new open')
      t.equal((fs.pread(fd, 100, 12) as Buffer).length, 4, 'a read stops at the end')
      t.equal((fs.pread(fd, 100, 100) as Buffer).length, 0, 'a read beyond it finds nothing')
      fs.close(fd)
      tree.remount()
      t.equal(contents(fs, 'f'), expected, 'after a remount')
    },
  },
  {
    title: 'O_APPEND writes at the end, whoever made it longer',
    items: [file('f', 'start')],
    run(t, { fs }) {
      const a = fs.open('f', O.WRONLY | O.APPEND)
      const b = fs.open('f', O.WRONLY | O.APPEND)
      for (const [fd, text] of [
        [a, '1'],
        [b, '22'],
        [a, '333'],
      ] as const)
        ok(t, fs.write(fd, Buffer.from(text)), text)
      t.equal(contents(fs, 'f'), 'start122333')
      ok(t, fs.truncate('f', 2), 'truncate')
      ok(t, fs.write(b, Buffer.from('!')), 'append after it')
      t.equal(contents(fs, 'f'), 'st!')
      fs.close(a)
      fs.close(b)
    },
  },
  {
    title: 'what one handle writes another reads',
    items: [file('f', 'old text')],
    run(t, { fs }) {
      const writer = fs.open('f', O.WRONLY)
      const reader = fs.open('f', O.RDONLY)
      ok(t, fs.pwrite(writer, Buffer.from('new'), 0), 'write')
      t.equal((fs.pread(reader, 100, 0) as Buffer).toString(), 'new text')
      ok(t, fs.ftruncate(writer, 3), 'ftruncate')
      t.equal((fs.pread(reader, 100, 0) as Buffer).toString(), 'new')
      fs.close(writer)
      fs.close(reader)
    },
  },
  {
    title: 'handles refuse what they were not opened for',
    items: [file('f', 'text')],
    run(t, { fs }) {
      const reader = fs.open('f', O.RDONLY)
      const writer = fs.open('f', O.WRONLY)
      fails(t, fs.pwrite(reader, Buffer.from('x'), 0), 'EBADF', 'write by a reader')
      fails(t, fs.pread(writer, 1, 0), 'EBADF', 'read by a writer')
      fails(t, fs.ftruncate(reader, 0), 'EINVAL', 'ftruncate by a reader')
      fails(t, fs.fallocate(reader, 0, 0, 1), 'EBADF', 'fallocate by a reader')
      fs.close(reader)
      fs.close(writer)
      t.equal(contents(fs, 'f'), 'text')
    },
  },
  {
    title: 'files of many MiB are written and read whole',
    items: [file('f', Buffer.alloc(3_000_000, 'abcdefg'))],
    run(t, { fs, tree }) {
      const data = Buffer.alloc(5_000_001)
      for (let i = 0; i < data.length; i += 4) data.writeUInt8((i * 7 + (i >> 9)) & 255, i)
      t.equal(put(fs, 'new', ''), 'OK')
      const fd = fs.open('new', O.RDWR)
      t.equal(fs.pwrite(fd, data, 0), data.length)
      t.ok((fs.pread(fd, data.length + 10, 0) as Buffer).equals(data), 'by the handle')
      fs.close(fd)
      const old = fs.open('f', O.RDWR)
      t.equal(fs.pwrite(old, Buffer.from('XYZ'), 2_999_999), 3)
      fs.close(old)
      tree.remount()
      t.equal(contents(fs, 'new'), data.toString('latin1'))
      const text = contents(fs, 'f')
      t.equal(text.length, 3_000_002)
      t.equal(text.slice(-5), `${'abcdefg'[2_999_997 % 7]}${'abcdefg'[2_999_998 % 7]}XYZ`)
    },
  },
  {
    title: 'holes: written far out, found by SEEK_HOLE and SEEK_DATA, read as zeroes',
    difference: 'holes',
    items: [file('f', blocks('ab'), {}, 40 * BLOCK)],
    run(t, { fs, tree }) {
      const look = (path: string): number[] => {
        const fd = fs.open(path, O.RDONLY)
        const found = [fs.seek(fd, 0, SEEK.DATA), fs.seek(fd, 0, SEEK.HOLE), fs.seek(fd, 40 * BLOCK - 1, SEEK.HOLE)]
        fs.close(fd)
        return found
      }
      t.same(look('f'), [0, 2 * BLOCK, 40 * BLOCK - 1])
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.pwrite(fd, blocks('z'), 30 * BLOCK), 'write')
      t.equal(fs.seek(fd, 2 * BLOCK, SEEK.DATA), 30 * BLOCK)
      t.equal(fs.seek(fd, 30 * BLOCK, SEEK.HOLE), 31 * BLOCK)
      fails(t, fs.seek(fd, 40 * BLOCK, SEEK.DATA), 'ENXIO', 'past the end')
      fails(t, fs.seek(fd, 31 * BLOCK, SEEK.DATA), 'ENXIO', 'no data after the last')
      fs.close(fd)
      tree.remount()
      t.same(look('f'), [0, 2 * BLOCK, 40 * BLOCK - 1])
      t.equal(shape(t, fs, 'f'), `ab${'0'.repeat(28)}z${'0'.repeat(9)}`)
      t.ok(lstat(t, fs, 'f').blocks <= 3 * 8 + 16, `holes take no space: ${lstat(t, fs, 'f').blocks}`)
    },
  },
  {
    title: 'data that was just written is never called a hole',
    items: [file('f', blocks('a'), {}, 20 * BLOCK)],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.pwrite(fd, blocks('zz'), 10 * BLOCK), 'write')
      const other = fs.open('f', O.RDONLY)
      for (const [who, handle] of [
        ['the writer', fd],
        ['a reader', other],
      ] as const) {
        const data = fs.seek(handle, 10 * BLOCK, SEEK.DATA)
        t.equal(data, 10 * BLOCK, `SEEK_DATA by ${who}`)
        t.ok(fs.seek(handle, 10 * BLOCK, SEEK.HOLE) >= 12 * BLOCK, `SEEK_HOLE by ${who}`)
      }
      fs.close(fd)
      fs.close(other)
    },
  },
  {
    title: 'fallocate: reserve, keep the size, punch, and refuse what is wrong',
    items: [file('f', blocks('abcdef'))],
    run(t, { fs, tree }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, BLOCK, 2 * BLOCK), 'punch')
      t.equal(shape(t, fs, 'f'), 'a00def')
      ok(t, fs.fallocate(fd, FALLOC.KEEP_SIZE, 0, 20 * BLOCK), 'keep size')
      t.equal(lstat(t, fs, 'f').size, 6 * BLOCK)
      ok(t, fs.fallocate(fd, 0, 0, 8 * BLOCK), 'reserve')
      t.equal(lstat(t, fs, 'f').size, 8 * BLOCK)
      t.equal(shape(t, fs, 'f'), 'a00def00')
      fails(t, fs.fallocate(fd, 0, 0, 0), 'EINVAL', 'no length')
      fails(t, fs.fallocate(fd, 0, -1, 10), 'EINVAL', 'negative offset')
      fails(t, fs.fallocate(fd, FALLOC.PUNCH_HOLE, 0, 10), 'ENOTSUP', 'punch without keep size')
      fs.close(fd)
      tree.remount()
      t.equal(shape(t, fs, 'f'), 'a00def00')
    },
  },
  {
    title: 'fallocate: zero a range',
    difference: 'zero-range',
    items: [file('f', blocks('abcdef'))],
    run(t, { fs, tree }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.fallocate(fd, FALLOC.ZERO_RANGE, 4 * BLOCK, BLOCK), 'zero')
      t.equal(shape(t, fs, 'f'), 'abcd0f')
      ok(t, fs.fallocate(fd, FALLOC.ZERO_RANGE, 5 * BLOCK, 2 * BLOCK), 'over the end')
      fs.close(fd)
      tree.remount()
      t.equal(shape(t, fs, 'f'), 'abcd000')
    },
  },
  {
    title: 'fallocate: collapse and insert ranges',
    difference: 'collapse-range',
    items: [file('f', blocks('abcdef'))],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.fallocate(fd, FALLOC.COLLAPSE_RANGE, BLOCK, 2 * BLOCK), 'collapse')
      t.equal(shape(t, fs, 'f'), 'adef')
      ok(t, fs.fallocate(fd, FALLOC.INSERT_RANGE, BLOCK, BLOCK), 'insert')
      t.equal(shape(t, fs, 'f'), 'a0def')
      fs.close(fd)
    },
  },
  {
    title: 'copy_file_range copies between files and within one',
    items: [file('from', blocks('abcdef')), file('to', blocks('xyz'))],
    run(t, { fs }) {
      const from = fs.open('from', O.RDONLY)
      const to = fs.open('to', O.RDWR)
      let done = 0
      while (done < 2 * BLOCK) {
        const n = fs.copyRange(from, BLOCK + done, to, 2 * BLOCK + done, 2 * BLOCK - done)
        if (n <= 0) {
          t.fail(`copy_file_range: ${outcome(n)} ${n}`)
          return
        }
        done += n
      }
      t.equal(shape(t, fs, 'to'), 'xybc')
      t.equal(fs.copyRange(from, 6 * BLOCK, to, 0, 10), 0, 'nothing at the end of the source')
      ok(t, fs.copyRange(to, 0, to, 8 * BLOCK, BLOCK), 'within one file')
      t.equal(shape(t, fs, 'to'), 'xybc0000x')
      fs.close(from)
      fs.close(to)
      t.equal(shape(t, fs, 'from'), 'abcdef')
    },
  },
  {
    title: 'data beyond 4 GiB is where it was written',
    items: [file('f', 'small')],
    run(t, { fs, tree }) {
      const at = 2 ** 32 + 12345
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.pwrite(fd, Buffer.from('far'), at), 'write')
      t.equal((fs.pread(fd, 10, at) as Buffer).toString(), 'far')
      t.equal((fs.pread(fd, 5, 12345) as Buffer).toString(), '\0\0\0\0\0', 'and not 4 GiB before')
      fs.close(fd)
      tree.remount()
      t.equal(lstat(t, fs, 'f').size, at + 3)
      const again = fs.open('f', O.RDONLY)
      t.equal((fs.pread(again, 10, at) as Buffer).toString(), 'far')
      t.equal((fs.pread(again, 5, 0) as Buffer).toString(), 'small')
      fs.close(again)
    },
  },
  {
    title: 'fsync and fdatasync of files and directories succeed',
    items: [file('f', 'x')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.pwrite(fd, Buffer.from('y'), 0), 'write')
      ok(t, fs.fsync(fd), 'fsync')
      fs.close(fd)
      const reader = fs.open('f', O.RDONLY)
      ok(t, fs.fsync(reader), 'fsync of a reader')
      fs.close(reader)
      const d = fs.opendir('')
      ok(t, fs.fsync(d), 'fsync of a directory')
      fs.closedir(d)
    },
  },
  {
    title: 'a file opened for writing and not written is not changed',
    items: [file('f', 'text', { mode: 0o640, uid: 3 })],
    run(t, { fs, tree }) {
      const before = lstat(t, fs, 'f')
      const facts = [before.mode, before.uid, before.size, before.mtime, before.mtimeNs, before.ino]
      for (const flags of [O.WRONLY, O.RDWR, O.RDWR | O.APPEND, O.RDWR | O.CREAT]) fs.close(fs.open('f', flags, 0o777))
      tree.remount()
      const after = lstat(t, fs, 'f')
      t.same([after.mode, after.uid, after.size, after.mtime, after.mtimeNs, after.ino], facts)
      t.equal(contents(fs, 'f'), 'text')
    },
  },
]
