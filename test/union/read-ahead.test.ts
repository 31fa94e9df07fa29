/** Who reads the files of a directory one after the other finds the next ones read, and nobody can tell but by the clock. */
import t, { type Test } from 'tap'
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { writeIndex } from '../../lib/layer/erofs-write.js'
import { objectPath } from '../../lib/layer/erofs-format.js'
import { IndexedLayer } from '../../lib/layer/indexed.js'
import type { Layer } from '../../lib/layer/layer.js'
import { TreeInode } from '../../lib/layer/tree.js'
import { O, S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { type NodeId, notOpened, ROOT } from '../../lib/union/filesystem.js'
import { ReadAhead } from '../../lib/union/read-ahead.js'
import type { Tree } from '../../lib/union/tree.js'
import type { Union } from '../../lib/union/union.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { newEntry } from '../posix/union-vfs.js'
import { caller, unionOver } from './driven.js'

const skip = missingForTrees() ?? false
const scratch = skip === false ? scratchDirectory(t) : ''
const FILES = 14
const nameOf = (i: number): string => `file-${String(i).padStart(2, '0')}`
const openFds = (): number => readdirSync('/proc/self/fd').length

function contentOf(fd: number): string {
  const bytes = Buffer.alloc(16)
  return bytes.latin1Slice(0, readSync(fd, bytes, 0, 16, 0))
}

/** Two directories of files, and what is none among them. */
function directoryLayer(): Layer {
  const lower = mkdtempSync(join(scratch, 'lower-'))
  for (const directory of ['a', 'b']) {
    mkdirSync(join(lower, directory, 'inside'), { recursive: true })
    for (let i = 0; i < FILES; i++) writeFileSync(join(lower, directory, nameOf(i)), `${directory}${i}`)
    execFileSync('mkfifo', [join(lower, directory, 'fifo')])
    writeFileSync(join(lower, directory, 'empty'), '')
  }
  return openDirectoryLayer(lower)
}

/** The same as an index. */
function indexLayer(): Layer {
  const objects = mkdtempSync(join(scratch, 'objects-'))
  const root = new TreeInode(S.IFDIR | 0o755)
  for (const [d, directory] of ['a', 'b'].entries()) {
    const inside = new TreeInode(S.IFDIR | 0o755)
    root.children?.set(directory, inside)
    inside.children?.set('inside', new TreeInode(S.IFDIR | 0o755))
    inside.children?.set('fifo', new TreeInode(S.IFIFO | 0o644))
    inside.children?.set('empty', new TreeInode(S.IFREG | 0o644))
    for (let i = 0; i < FILES; i++) {
      const file = new TreeInode(S.IFREG | 0o644)
      const content = `${directory}${i}`
      file.size = content.length
      file.object = String(1 + d * FILES + i).padStart(64, '0')
      const path = join(objects, objectPath(file.object))
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, content)
      inside.children?.set(nameOf(i), file)
    }
  }
  return new IndexedLayer(writeIndex(root), objects)
}

/** A union whose driver has time after each request; which files of the lower were opened, and for whom. */
class Reader {
  readonly tree: Tree
  readonly fs: Union
  readonly asked: string[] = []
  readonly ahead: string[] = []
  #isAhead = false
  readonly #nodes = new Map<string, NodeId>()

  constructor(t: Test, layer: Layer) {
    ;({ tree: this.tree, fs: this.fs } = unionOver(t, scratch, layer, { passthrough: false }))
    const open = layer.open.bind(layer)
    layer.open = node => {
      const fd = open(node)
      ;(this.#isAhead ? this.ahead : this.asked).push(fd < 0 ? `errno ${fd}` : contentOf(fd))
      return fd
    }
  }

  rest(): void {
    this.#isAhead = true
    while (this.fs.ahead());
    this.#isAhead = false
  }

  node(path: string): NodeId {
    if (path === '.') return ROOT
    return path.split('/').reduce((dir, name) => this.#lookup(dir, name), ROOT)
  }

  #lookup(dir: NodeId, name: string): NodeId {
    const key = `${dir}/${name}`
    const known = this.#nodes.get(key)
    if (known !== undefined) return known
    const entry = newEntry()
    if (this.fs.lookup(caller, dir, name, entry) < 0) throw new Error(name)
    this.#nodes.set(key, entry.nodeid)
    return entry.nodeid
  }

  /** The files with something in them, in the order of the listing. */
  list(directory: string): string[] {
    const files: string[] = []
    this.fs.readdir(caller, this.node(directory), 0, {
      plus: true,
      name: () => false,
      entry: (names, from, to, _at, { nodeid, attr }) => {
        if (nodeid !== 0 && (attr.mode & S.IFMT) === S.IFREG && attr.size > 0) files.push(names.latin1Slice(from, to))
        return true
      },
    })
    this.rest()
    return files
  }

  /** Opens, reads and closes a file; then there is time. */
  read(path: string): string {
    const node = this.node(path)
    const opened = notOpened()
    if (this.fs.open(caller, node, O.RDONLY, false, opened) < 0) throw new Error(path)
    const content = contentOf(this.fs.source(node, opened.handle))
    this.fs.release(node, opened.handle)
    this.rest()
    return content
  }
}

const contents = (directory: string, names: readonly string[]): string[] =>
  names.map(name => `${directory}${Number(name.slice(-2))}`)

for (const [kind, layer] of [
  ['a directory', directoryLayer],
  ['an index', indexLayer],
] as const)
  t.test(`lower is ${kind}`, { skip }, async t => {
    await t.test('in the order of the listing: each file is read once ahead, eight at most', async t => {
      const r = new Reader(t, layer())
      const files = r.list('a')
      t.equal(files.length, FILES)
      for (const name of files.slice(0, 2)) r.read(`a/${name}`)
      t.same(r.ahead, [], 'not before three')
      const before = openFds()
      r.read(`a/${files[2] ?? ''}`)
      // What else there is in the directory may be among the eight.
      t.ok(r.ahead.length >= 5 && r.ahead.length <= 8, `${r.ahead.length}`)
      t.same(r.ahead, contents('a', files.slice(3)).slice(0, r.ahead.length))
      t.ok(openFds() <= before + 1, 'nothing but what was read stays open')
      for (const name of files.slice(3)) t.same([r.read(`a/${name}`)], contents('a', [name]))
      t.same(r.ahead, contents('a', files.slice(3)))
      t.same(r.asked, contents('a', files), 'and opened for those who asked')
    })

    await t.test('by inode number', async t => {
      const r = new Reader(t, layer())
      const st = new Stat()
      const ino = (name: string): number => {
        r.fs.getattr(caller, r.node(`a/${name}`), 0, st)
        return st.ino
      }
      const listed = r.list('a')
      const files = [...listed].sort((x, y) => ino(x) - ino(y))
      t.not(files.join(), listed.join(), 'another order than the listing')
      for (const name of files) r.read(`a/${name}`)
      t.ok(r.ahead.length >= FILES - 7, `${r.ahead.length}`)
      t.same(r.ahead, contents('a', files.slice(-r.ahead.length)))
      r.ahead.length = 0
      const next = r.list('b').sort((x, y) => Number(x.slice(-2)) - Number(y.slice(-2)))
      t.ok(r.ahead.length >= 6, 'the next directory as soon as it is listed')
      t.same(r.ahead, contents('b', next).slice(0, r.ahead.length))
    })

    await t.test('in no order: nothing is read', async t => {
      const r = new Reader(t, layer())
      const files = r.list('a')
      for (let i = files.length - 1; i >= 0; i -= 2) r.read(`a/${files[i] ?? ''}`)
      for (const name of files) r.read(`b/${name}`) // b was not listed
      t.same(r.ahead, [])
    })

    await t.test('what has gone or has been copied up is left alone', async t => {
      const r = new Reader(t, layer())
      const files = r.list('a')
      const [gone = '', changed = ''] = files.slice(4)
      t.equal(r.fs.unlink(caller, r.node('a'), gone), 0)
      const opened = notOpened()
      t.ok(r.fs.open(caller, r.node(`a/${changed}`), O.WRONLY, false, opened) >= 0)
      r.fs.release(r.node(`a/${changed}`), opened.handle)
      r.asked.length = 0
      for (const name of files.slice(0, 4)) r.read(`a/${name}`)
      t.ok(r.ahead.length > 2)
      t.same(r.ahead, contents('a', [files[3] ?? '', ...files.slice(6)]).slice(0, r.ahead.length))
    })
  })

t.test('files that come at once are not read ahead for a while', { skip }, async t => {
  const lower = mkdtempSync(join(scratch, 'many-'))
  for (let i = 0; i < 300; i++) writeFileSync(join(lower, `f${i}`), 'x')
  const r = new Reader(t, openDirectoryLayer(lower))
  for (const [slow, least, most] of [
    [0.1, 280, 300],
    [0.001, 60, 130],
  ] as const) {
    let time = 0
    const readAhead = new ReadAhead(r.tree, () => (time += slow))
    let steps = 0
    for (const name of r.list('.')) {
      const node = r.tree.get(r.node(name))
      if (node !== undefined) readAhead.opened(node)
      while (readAhead.step()) steps++
    }
    t.ok(steps >= least && steps <= most, `${steps} of 300 where each takes ${slow} ms`)
  }
})
