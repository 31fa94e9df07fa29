/** Owns what must hold for mapped files and locks: only a kernel can show it. */
import { LOCK, O } from '../../../lib/sys/constants.js'
import { E } from '../../../lib/errno.js'
import { flock } from '../../../lib/sys/file.js'
import { MAP, mmap, msync, munmap, peek, poke, PROT } from '../../../lib/sys/mapping.js'
import { contents, lstat, ok, put, type Case } from '../case.js'
import { file } from '../population.js'

const PAGE = 4096

export const mappingCases: readonly Case[] = [
  {
    title: 'a shared mapping and read see each other at once',
    kernel: true,
    items: [file('f', Buffer.alloc(3 * PAGE, 'a'))],
    run(t, { fs, tree }) {
      const fd = fs.open('f', O.RDWR)
      const at = mmap(fd, 3 * PAGE, PROT.READ | PROT.WRITE, MAP.SHARED)
      ok(t, at, 'mmap')
      t.equal(peek(at, 4).toString(), 'aaaa')
      ok(t, fs.pwrite(fd, Buffer.from('write'), 10), 'write')
      t.equal(peek(at + 10, 5).toString(), 'write', 'a write shows in the mapping')
      poke(at + PAGE, Buffer.from('mapped'))
      t.equal((fs.pread(fd, 6, PAGE) as Buffer).toString(), 'mapped', 'the mapping shows in a read')
      const other = fs.open('f', O.RDONLY)
      t.equal((fs.pread(other, 6, PAGE) as Buffer).toString(), 'mapped', 'by another handle')
      fs.close(other)
      ok(t, msync(at, 3 * PAGE), 'msync')
      ok(t, munmap(at, 3 * PAGE), 'munmap')
      fs.close(fd)
      tree.remount()
      t.equal(contents(fs, 'f').slice(PAGE, PAGE + 6), 'mapped')
      t.equal(contents(fs, 'f').slice(10, 15), 'write')
    },
  },
  {
    title: 'a private mapping changes nothing',
    kernel: true,
    items: [file('f', Buffer.alloc(PAGE, 'a'))],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDONLY)
      const at = mmap(fd, PAGE, PROT.READ | PROT.WRITE, MAP.PRIVATE)
      ok(t, at, 'mmap')
      poke(at, Buffer.from('mine'))
      t.equal(peek(at, 4).toString(), 'mine')
      t.equal((fs.pread(fd, 4, 0) as Buffer).toString(), 'aaaa')
      munmap(at, PAGE)
      fs.close(fd)
    },
  },
  {
    title: 'mtime is right after a write through a mapping',
    kernel: true,
    items: [file('f', Buffer.alloc(PAGE, 'a'))],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDWR)
      ok(t, fs.utimens('f', 1, 0, 1, 0), 'utimens')
      const at = mmap(fd, PAGE, PROT.READ | PROT.WRITE, MAP.SHARED)
      poke(at, Buffer.from('new'))
      ok(t, msync(at, PAGE), 'msync')
      t.ok(lstat(t, fs, 'f').mtime > 1_600_000_000, 'after msync')
      munmap(at, PAGE)
      fs.close(fd)
      t.ok(lstat(t, fs, 'f').mtime > 1_600_000_000, 'after close')
    },
  },
  {
    title: 'a mapped file that is replaced or removed stays as it was for its mapper',
    kernel: true,
    items: [file('f', Buffer.alloc(PAGE, 'o')), file('g', 'new')],
    run(t, { fs }) {
      const fd = fs.open('f', O.RDONLY)
      const at = mmap(fd, PAGE, PROT.READ, MAP.SHARED)
      fs.close(fd)
      ok(t, fs.rename('g', 'f'), 'replace')
      t.equal(peek(at, 3).toString(), 'ooo')
      t.equal(contents(fs, 'f'), 'new')
      munmap(at, PAGE)
    },
  },
  {
    title: 'a reader that holds and maps a file, and a writer that opens it: new opens see the writer, the lower stays',
    kernel: true,
    layered: true,
    items: [file('f', Buffer.alloc(2 * PAGE, 'l'))],
    run(t, { fs, place }) {
      const reader = fs.open('f', O.RDONLY)
      const at = mmap(reader, 2 * PAGE, PROT.READ, MAP.SHARED)
      t.equal(peek(at, 2).toString(), 'll')
      const ino = lstat(t, fs, 'f').ino
      const writer = fs.open('f', O.RDWR)
      ok(t, writer, 'open for writing')
      t.equal(fs.pwrite(writer, Buffer.from('WRITER'), 0), 6)
      t.equal(contents(fs, 'f').slice(0, 8), 'WRITERll', 'a new open')
      t.equal(lstat(t, fs, 'f').ino, ino)
      // The reader of an upper file sees the write; one that opened a lower file may keep the bytes it opened.
      const legal = place === 'upper' ? ['WRITER'] : ['WRITER', 'llllll']
      for (const [how, seen] of [
        ['handle', (fs.pread(reader, 6, 0) as Buffer).toString()],
        ['mapping', peek(at, 6).toString()],
      ] as const)
        t.ok(legal.includes(seen), `the reader's ${how}: ${seen}`)
      munmap(at, 2 * PAGE)
      fs.close(reader)
      fs.close(writer)
      t.equal(contents(fs, 'f').slice(0, 8), 'WRITERll')
    },
  },
  {
    title: 'many readers and writers of one file in turn, mapped and not',
    kernel: true,
    items: [file('f', Buffer.alloc(PAGE, '0'))],
    run(t, { fs }) {
      for (let i = 1; i <= 9; i++) {
        const reader = fs.open('f', O.RDONLY)
        const at = mmap(reader, PAGE, PROT.READ, MAP.SHARED)
        peek(at, 1)
        const writer = fs.open('f', O.WRONLY)
        ok(t, writer, `open ${i}`)
        t.equal(fs.pwrite(writer, Buffer.alloc(PAGE, String(i)), 0), PAGE)
        fs.close(writer)
        t.equal(contents(fs, 'f')[17], String(i), `round ${i}`)
        ok(t, fs.chmod('f', 0o600 + i), 'chmod')
        munmap(at, PAGE)
        fs.close(reader)
      }
    },
  },
  {
    title: 'flock excludes between handles of one file, also of one that is written for the first time in between',
    kernel: true,
    items: [file('f', 'x')],
    run(t, { fs }) {
      const a = fs.open('f', O.RDWR)
      const b = fs.open('f', O.RDWR)
      ok(t, flock(a, LOCK.EX | LOCK.NB), 'lock')
      t.equal(flock(b, LOCK.EX | LOCK.NB), -E.EAGAIN, 'taken')
      ok(t, fs.pwrite(a, Buffer.from('y'), 0), 'write')
      t.equal(flock(b, LOCK.SH | LOCK.NB), -E.EAGAIN, 'still taken')
      ok(t, flock(a, LOCK.UN), 'unlock')
      ok(t, flock(b, LOCK.EX | LOCK.NB), 'free')
      fs.close(a)
      fs.close(b)
      t.equal(put(fs, 'f', 'z'), 'OK')
    },
  },
]
