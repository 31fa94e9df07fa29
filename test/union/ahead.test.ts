/** A walk is foreseen: the next names are looked up before they are asked for, and nobody can tell but by the clock. */
import t, { type Test } from 'tap'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { S } from '../../lib/sys/constants.js'
import { type NodeId, ROOT } from '../../lib/union/filesystem.js'
import type { Tree } from '../../lib/union/tree.js'
import type { Union } from '../../lib/union/union.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { newEntry } from '../posix/union-vfs.js'
import { caller, unionOver } from './driven.js'

const missing = missingForTrees()
const scratch = missing === undefined ? scratchDirectory(t) : ''

const DIRECTORIES = 20
const FILES = 30

/** Two levels of directories with files in them. */
function makeLower(): string {
  const lower = mkdtempSync(join(scratch, 'lower-'))
  for (let d = 0; d < DIRECTORIES; d++) {
    const inside = join(lower, `d${d}`, 'inside')
    mkdirSync(inside, { recursive: true })
    for (let f = 0; f < FILES; f++) {
      writeFileSync(join(lower, `d${d}`, `f${f}`), 'x'.repeat(f))
      writeFileSync(join(inside, `g${f}`), 'y'.repeat(f))
    }
  }
  return lower
}

/** A union over `lower` whose driver has time between two requests, or none; and what the lower was asked for. */
class Walked {
  readonly tree: Tree
  readonly fs: Union
  readonly #idle: boolean
  /** Look-ups in the lower, while a listing was asked for, and while nobody asked. */
  asked = 0
  ahead = 0
  #isAhead = false
  readonly known = new Map<NodeId, number>()

  constructor(t: Test, lower: string, idle = true) {
    const layer = openDirectoryLayer(lower)
    const peek = layer.peek.bind(layer)
    layer.peek = (...args: Parameters<typeof peek>) => {
      if (this.#isAhead) this.ahead++
      else this.asked++
      return peek(...args)
    }
    ;({ tree: this.tree, fs: this.fs } = unionOver(t, scratch, layer))
    this.#idle = idle
  }

  #rest(): void {
    if (!this.#idle) return
    this.#isAhead = true
    while (this.fs.ahead());
    this.#isAhead = false
  }

  /** Lists `dir` to its end in pieces of ten: `name mode size ino`, and the directories in it. */
  list(dir: NodeId): { lines: string[]; directories: [string, NodeId][] } {
    const lines: string[] = []
    const directories: [string, NodeId][] = []
    for (let offset = 0, taken = -1; taken !== 0;) {
      taken = 0
      this.fs.readdir(caller, dir, offset, {
        plus: true,
        name: () => false,
        entry: (names, from, to, at, { nodeid, attr }) => {
          if (taken === 10) return false
          taken++
          offset = at
          if (nodeid === 0) return true
          this.known.set(nodeid, (this.known.get(nodeid) ?? 0) + 1)
          const name = names.latin1Slice(from, to)
          lines.push(`${name} ${attr.mode} ${attr.size} ${attr.nlink} ${attr.ino}`)
          if ((attr.mode & S.IFMT) === S.IFDIR) directories.push([name, nodeid])
          return true
        },
      })
      this.#rest()
    }
    return { lines, directories }
  }

  /** As find does: what is in a directory, then each directory in it. */
  walk(dir: NodeId = ROOT, path = ''): string[] {
    const { lines, directories } = this.list(dir)
    return [
      ...lines.map(line => `${path}/${line}`),
      ...directories.flatMap(([name, node]) => this.walk(node, `${path}/${name}`)),
    ]
  }

  lookup(dir: NodeId, name: string): NodeId {
    const entry = newEntry()
    if (this.fs.lookup(caller, dir, name, entry) < 0) throw new Error(name)
    this.known.set(entry.nodeid, (this.known.get(entry.nodeid) ?? 0) + 1)
    return entry.nodeid
  }

  /** The kernel forgets all it knows. How many nodes are left. */
  forget(): number {
    for (const [id, count] of this.known) this.fs.forget(id, count)
    this.fs.tidy()
    this.known.clear()
    return this.tree.nodes.size
  }
}

const skip = missing ?? false

t.test('the same is seen, and most of it was looked up while nobody waited', { skip }, async t => {
  const lower = makeLower()
  const plain = new Walked(t, lower, false)
  const expected = plain.walk()
  t.equal(expected.length, DIRECTORIES * (2 * FILES + 2))
  const busy = new Walked(t, lower)
  t.same(busy.walk(), expected)
  t.ok(busy.asked + busy.ahead <= plain.asked, 'no name more often, whoever looks')
  t.ok(busy.asked < plain.asked / 10, `${busy.asked} of ${plain.asked} look-ups had somebody waiting`)
  t.same(busy.walk(), expected, 'again')
  t.equal(busy.forget(), 1, 'nothing is left but the root')
})

t.test('who goes elsewhere leaves nothing behind', { skip }, async t => {
  const w = new Walked(t, makeLower())
  const { directories } = w.list(ROOT)
  for (const [, node] of directories.slice(0, 4)) for (const [, inside] of w.list(node).directories) w.list(inside)
  t.ok(w.tree.nodes.size > w.known.size + 1, 'more is known than was asked for')
  const before = w.ahead
  const backwards = directories.slice(5).reverse()
  for (const [, node] of backwards) w.list(node)
  t.equal(w.tree.nodes.size, w.known.size + 1, 'as much as was asked for')
  t.ok(w.ahead - before <= backwards.length * FILES, 'and only the rest of each directory was looked up ahead')
  t.equal(w.forget(), 1)
})

t.test('changes between are seen', { skip }, async t => {
  const w = new Walked(t, makeLower())
  const { directories } = w.list(ROOT)
  const nodeOf = new Map(directories)
  for (const [, node] of directories.slice(0, 3)) for (const [, inside] of w.list(node).directories) w.list(inside)
  const [name = ''] = directories[3] ?? []
  const next = nodeOf.get(name) as NodeId
  t.ok(w.tree.get(next)?.dir?.listing?.foreseen, 'it was foreseen')
  t.equal(w.fs.unlink(caller, next, 'f7'), 0)
  t.equal(w.fs.rename(caller, next, 'f8', ROOT, 'moved', 0), 0)
  const entry = newEntry()
  t.ok(w.fs.mkdir(caller, next, 'new', 0o700, entry) >= 0)
  w.known.set(entry.nodeid, 1)
  const names = w.list(next).lines.map(line => line.split(' ')[0])
  const expected = Array.from({ length: FILES }, (_, f) => `f${f}`).filter(f => f !== 'f7' && f !== 'f8')
  t.same(new Set(names), new Set([...expected, 'inside', 'new']))
  const moved = w.lookup(ROOT, 'moved')
  t.ok(w.fs.getattr(caller, moved, 0, entry.attr) >= 0)
  t.equal(entry.attr.size, 8)
  t.equal(w.forget(), 1)
})

t.test(
  'a directory of the upper is not listed before somebody lists it: that moves its access time',
  { skip },
  async t => {
    const w = new Walked(t, makeLower())
    const { directories } = w.list(ROOT)
    const entry = newEntry()
    const [, third = 0] = directories[2] ?? []
    t.ok(w.fs.mkdir(caller, third, 'made', 0o700, entry) >= 0)
    w.known.set(entry.nodeid, 1)
    for (const [, node] of directories.slice(0, 2)) for (const [, inside] of w.list(node).directories) w.list(inside)
    t.equal(w.tree.get(third)?.dir?.listing?.count ?? 0, 0)
    t.equal(w.forget(), 1)
  },
)
