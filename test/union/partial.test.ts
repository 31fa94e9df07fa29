/**
 * Block-wise copy-up of large files: what is read, at every stage, is what a plain file would have; the time until the first
 * byte is written does not depend on the size; a server that dies meanwhile leaves the file as it was.
 */
import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { O } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { file } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import type { UnionVfs } from '../posix/union-vfs.js'
import { Stack } from './stack.js'

const SIZE = 20 * 1024 * 1024 + 12_345
const BLOCK = 65_536

function readAll(fs: UnionVfs, path: string): Buffer {
  const fd = fs.open(path, O.RDONLY)
  const parts: Buffer[] = []
  for (let at = 0; ;) {
    const part = fs.pread(fd, 1 << 20, at)
    if (typeof part === 'number') throw new Error(`read: ${part}`)
    if (part.length === 0) break
    parts.push(part)
    at += part.length
  }
  fs.close(fd)
  return Buffer.concat(parts)
}

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  const original = randomBytes(SIZE)
  let count = 0
  const fresh = (): Stack =>
    new Stack(join(scratch, String(count++)), [[file('big', original, { mode: 0o640, uid: 7 })]])

  for (const passthrough of [true, false]) {
    const mode = passthrough ? 'passthrough' : 'cached'

    t.test(`${mode}: an appended byte is there at once, and copies little`, async t => {
      const stack = fresh()
      stack.union(
        fs => {
          const fd = fs.open('big', O.WRONLY | O.APPEND)
          t.ok(fd >= 0)
          t.equal(fs.write(fd, Buffer.from('!')), 1)
          t.ok(statSync(join(stack.upper, 'big')).blocks * 512 <= 2 * BLOCK, 'the upper holds a block or two')
          const expected = Buffer.concat([original, Buffer.from('!')])
          t.ok(readAll(fs, 'big').equals(expected), 'half way')
          fs.close(fd)
          const st = new Stat()
          fs.stat('big', st)
          t.same([st.size, st.uid, st.mode & 0o7777], [SIZE + 1, 7, 0o640])
          t.ok(readAll(fs, 'big').equals(expected), 'after the last close')
        },
        { passthrough },
      )
      t.ok(stack.union(fs => readAll(fs, 'big')).equals(Buffer.concat([original, Buffer.from('!')])), 'after a remount')
      stack.remove()
    })

    t.test(`${mode}: writes anywhere, across blocks, past the end, before and after fsync`, async t => {
      const stack = fresh()
      const model = Buffer.alloc(SIZE + 3 * BLOCK)
      original.copy(model)
      let size = SIZE
      stack.union(
        fs => {
          const fd = fs.open('big', O.WRONLY)
          let seed = 7
          const random = (n: number): number => {
            seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff
            return seed % n
          }
          const write = (position: number, length: number): void => {
            const data = randomBytes(length)
            if (fs.pwrite(fd, data, position) !== length) t.fail(`pwrite ${length} at ${position}`)
            data.copy(model, position)
            size = Math.max(size, position + length)
          }
          const same = (when: string): void => {
            if (!readAll(fs, 'big').equals(model.subarray(0, size))) t.fail(`differs ${when}`)
            else t.pass(when)
          }
          write(0, 1)
          write(BLOCK - 1, 2)
          write(BLOCK * 5, BLOCK)
          write(BLOCK * 9 + 1, BLOCK * 3)
          write(SIZE - 10, 5)
          same('at first')
          write(SIZE + BLOCK + 77, 100)
          same('past the end: zeros between')
          for (let i = 0; i < 60; i++) write(random(SIZE), 1 + random(2 * BLOCK))
          same('after many')
          t.equal(fs.fsync(fd), 0)
          same('after fsync')
          for (let i = 0; i < 20; i++) write(random(SIZE), 1 + random(2 * BLOCK))
          same('and more')
          fs.close(fd)
          same('closed')
        },
        { passthrough },
      )
      t.ok(stack.union(fs => readAll(fs, 'big')).equals(model.subarray(0, size)), 'after a remount')
      t.ok(stack.kernel(fs => fs.open('big', O.RDONLY)) >= 0)
      stack.remove()
    })
  }

  t.test('a server that dies half way leaves the file as it was', async t => {
    const stack = fresh()
    stack.dying(fs => {
      const fd = fs.open('big', O.WRONLY)
      t.equal(fs.pwrite(fd, Buffer.alloc(200_000, 'x'), 100_000), 200_000)
    })
    t.ok(stack.union(fs => readAll(fs, 'big')).equals(original))
    stack.remove()
  })

  t.test(
    'what needs the whole file waits for it: truncate, fallocate, opening to read and write, link, unlink',
    async t => {
      const stack = fresh()
      stack.union(fs => {
        const fd = fs.open('big', O.WRONLY)
        fs.pwrite(fd, Buffer.from('begin'), 0)
        t.equal(fs.ftruncate(fd, SIZE - 5), 0)
        const expected = Buffer.from(original.subarray(0, SIZE - 5))
        expected.write('begin')
        t.ok(readAll(fs, 'big').equals(expected), 'truncated')
        t.equal(fs.link('big', 'too'), 0)
        t.equal(fs.unlink('big'), 0)
        fs.pwrite(fd, Buffer.from('again'), 0)
        expected.write('again')
        t.ok(readAll(fs, 'too').equals(expected), 'by its other name')
        fs.close(fd)
      })
      stack.remove()
    },
  )

  t.test('times: a copy moves none, a write does', async t => {
    const stack = fresh()
    stack.union(fs => {
      const before = new Stat()
      const st = new Stat()
      fs.stat('big', before)
      const fd = fs.open('big', O.WRONLY)
      fs.stat('big', st)
      t.same([st.mtime, st.mtimeNs], [before.mtime, before.mtimeNs], 'opened')
      t.equal(fs.fsync(fd), 0)
      fs.stat('big', st)
      t.same([st.mtime, st.mtimeNs], [before.mtime, before.mtimeNs], 'copied')
      fs.pwrite(fd, Buffer.from('x'), 0)
      fs.stat('big', st)
      t.not(st.mtime, before.mtime, 'written')
      fs.close(fd)
    })
    stack.remove()
  })
}
