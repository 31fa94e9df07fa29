/** An index in a file: read a piece at a time, and what is damaged is not answered from. */
import t, { type Test } from 'tap'
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { E, FsError } from '../../lib/errno.js'
import { writeIndex } from '../../lib/layer/erofs-write.js'
import { IndexFile, IndexFormatError, PIECE_BITS, verifyIndex } from '../../lib/layer/index-bytes.js'
import { openIndex } from '../../lib/layer/indexed.js'
import { TreeInode } from '../../lib/layer/tree.js'
import { Stat } from '../../lib/sys/stat.js'

const FILES = 6000

/** An index of some ten pieces: names of one directory, in blocks of their own behind all inodes. */
function make(t: Test): { path: string; objects: string; bytes: Buffer } {
  const place = t.testdir()
  const root = new TreeInode(0o40755)
  const dir = new TreeInode(0o40700)
  root.children?.set('dir', dir)
  for (let n = 0; n < FILES; n++) {
    const file = new TreeInode(0o100644)
    file.xattrs = new Map([['user.n', Buffer.from(`${n}`.padStart(40, '.'))]])
    dir.children?.set(`file-${`${n}`.padStart(5, '0')}`, file)
  }
  const bytes = writeIndex(root)
  const path = join(place, 'index')
  const objects = join(place, 'objects')
  mkdirSync(objects)
  writeFileSync(path, bytes)
  return { path, objects, bytes }
}

/** Bytes of the file at `path` from `at` on become `bytes`, as a bad disk would have it. */
function damage(path: string, at: number, bytes = Buffer.from('damage')): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, bytes, 0, bytes.length, at)
  closeSync(fd)
}

t.test('what is asked for is read, and no more', async t => {
  const { path, objects, bytes } = make(t)
  t.equal(verifyIndex(bytes), undefined)
  const file = new IndexFile(path)
  t.ok(file.there.length > 8, `${file.there.length} pieces`)
  t.notOk(file.there.includes(1), 'nothing yet')
  file.close()

  const layer = openIndex(path, objects)
  t.teardown(() => layer.close())
  rmSync(path)
  const st = new Stat()
  const dir = layer.lookup(layer.root, 'dir', st)
  t.equal(st.mode, 0o40700)
  const node = layer.lookup(dir, 'file-03000', st)
  t.ok(node > 0)
  t.equal(`${layer.getxattr(node, 'user.n') as Buffer}`, '3000'.padStart(40, '.'), 'its name may be gone')
  let names = 0
  const each = (_name: string, _type: number, nid: number): void => {
    names++
    if (layer.stat(nid, st) !== 0) t.fail(`stat ${nid}`)
  }
  t.equal(layer.list(dir, each), 0)
  t.equal(names, FILES)
  const read = layer.image.bytes.subarray(1024)
  t.ok(read.equals(bytes.subarray(1024, 1024 + read.length)), 'in the end all of it')
})

t.test('a damaged piece costs the names that are in it, and says where to look', async t => {
  const { path, objects, bytes } = make(t)
  const layer = openIndex(path, objects)
  const st = new Stat()
  const dir = layer.lookup(layer.root, 'dir', st)
  const one = layer.lookup(dir, 'file-03000', st)
  t.ok(one > 0)
  layer.close()

  const piece = (one * 32) >>> PIECE_BITS
  damage(path, one * 32 + 4)
  const bad = openIndex(path, objects)
  const said: string[] = []
  const write = process.stderr.write.bind(process.stderr)
  process.stderr.write = (text: string | Uint8Array) => said.push(`${text}`) > 0
  try {
    t.equal(bad.lookup(dir, 'file-03000', st), -E.EUCLEAN)
    t.equal(bad.stat(one, st), -E.EUCLEAN, 'each time')
    t.ok(bad.lookup(dir, 'file-00001', st) > 0, 'others are answered')
  } finally {
    process.stderr.write = write
    bad.close()
  }
  t.same(said, [
    `lamina: read index ${path}: bytes from ${piece << PIECE_BITS} on do not match their hash (lamina fsck --repair)\n`,
  ])
  t.throws(() => openIndex(path, objects, { whole: true }), IndexFormatError, 'who wants all of it gets nothing')
  const whole = Buffer.from(bytes)
  whole[one * 32 + 4] = ~(whole[one * 32 + 4] as number) & 255
  t.match(verifyIndex(whole), /do not match their hash/)
})

t.test('what is no whole index is refused when it is opened', async t => {
  const { path, objects, bytes } = make(t)
  const refused = (cause: RegExp, change: () => void): void => {
    writeFileSync(path, bytes)
    change()
    t.throws(() => openIndex(path, objects), { name: 'IndexFormatError', message: cause })
    t.match(verifyIndex(readFileSync(path)), /./)
  }
  const cut = (size: number) => () => {
    const fd = openSync(path, 'r+')
    ftruncateSync(fd, size)
    closeSync(fd)
  }
  refused(/no index header/, cut(0))
  refused(/no index header/, cut(4000))
  refused(/truncated/, cut(4096))
  refused(/truncated/, cut(bytes.length - 1))
  refused(/truncated/, () => damage(path, bytes.length))
  refused(/table of hashes is damaged/, () => damage(path, bytes.length - 4096))
  refused(/no index header/, () => damage(path, 0))
  refused(/index version 1, this program reads 2/, () => damage(path, 16, Buffer.from([1, 0, 0, 0])))
  refused(/first piece is damaged/, () => damage(path, 5000))
  t.throws(() => openIndex(`${path}.none`, objects), FsError)
})
