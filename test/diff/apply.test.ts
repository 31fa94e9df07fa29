import t from 'tap'
import { compare, compareTrees } from '../../lib/diff/compare.js'
import { type LayerEntry, eachLayerEntry } from '../../lib/diff/layer-entries.js'
import { MergedTree } from '../../lib/diff/merged.js'
import { readContent } from '../../lib/diff/content.js'
import type { Layer } from '../../lib/layer/layer.js'
import { dir, file, gone, type Item, MemoryLayer } from './memory-layer.js'
import { Gardener } from './random-tree.js'

/** Builds the layer that a sequence of entries describes, as whoever unpacks a layer tar does. */
function layerOf(before: MergedTree, after: MergedTree): { root: Item; entries: LayerEntry[] } {
  const found = after.root()
  const root: Item = { ...dir(), ...(found && pick(found.attributes)) }
  const entries: LayerEntry[] = []
  const seen = new Map<string, Item>()
  eachLayerEntry(before, after, entry => {
    entries.push(entry)
    const names = entry.path.split('/').slice(1)
    const last = names.pop() as string
    if (last === '' && entry.type === 'node') {
      Object.assign(root, pick(entry.attributes), { xattrs: strings(entry.xattrs) })
      return
    }
    const parent = parentIn(root, names, after)
    if (entry.type === 'whiteout') parent.children?.set(last, gone())
    else if (entry.type === 'link') parent.children?.set(last, seen.get(entry.target) as Item)
    else {
      const isFile = (entry.attributes.mode & 0o170000) === 0o100000
      const isDir = (entry.attributes.mode & 0o170000) === 0o040000
      const item: Item = { ...pick(entry.attributes), xattrs: strings(entry.xattrs) }
      if (isFile) item.data = readContent(after, entry.entry).toString('latin1')
      if (isDir) item.children = parent.children?.get(last)?.children ?? new Map<string, Item>()
      if (entry.target !== '') item.target = entry.target
      seen.set(entry.path, item)
      parent.children?.set(last, item)
    }
  })
  return { root, entries }
}

const pick = (a: { mode: number; uid: number; gid: number; mtime: number; mtimeNs: number; rdev: number }): Item => ({
  mode: a.mode,
  uid: a.uid,
  gid: a.gid,
  mtime: a.mtime,
  mtimeNs: a.mtimeNs,
  rdev: a.rdev,
})

const strings = (xattrs: ReadonlyMap<string, Buffer>): Record<string, string> =>
  Object.fromEntries([...xattrs].map(([k, v]) => [k, v.toString('latin1')]))

/** A directory that the layer only passes through has the attributes it has in the finished tree. */
function parentIn(root: Item, names: string[], after: MergedTree): Item {
  let at = root
  let path = ''
  for (const name of names) {
    path += `/${name}`
    let next = at.children?.get(name)
    if (next === undefined) {
      const entry = after.resolve(path)
      if (entry === undefined) throw new Error(`parent ${path} is nowhere`)
      next = { ...dir(), ...pick(entry.attributes) }
      after.release(entry)
      at.children?.set(name, next)
    }
    at = next
  }
  return at
}

/** All that can be seen of a tree, path by path: what "gives B" is judged by, without the comparison under test. */
function snapshot(layers: Layer[]): string[] {
  const tree = new MergedTree(layers)
  const lines: string[] = []
  const root = tree.root()
  if (root === undefined) return lines
  tree.walk(root, e => {
    const a = e.attributes
    const type = a.mode & 0o170000
    const data = type === 0o100000 ? readContent(tree, e).toString('latin1') : type === 0o120000 ? tree.readlink(e) : ''
    const xattrs = JSON.stringify(strings(tree.xattrs(e)))
    lines.push([e.path, a.mode, a.uid, a.gid, a.mtime, a.mtimeNs, a.rdev, data, xattrs].join(' '))
  })
  return lines.sort()
}

/** Paths of the same file in a tree, as sorted groups. */
function links(layers: Layer[]): string[] {
  const tree = new MergedTree(layers)
  const groups = new Map<string, string[]>()
  const root = tree.root()
  if (root) {
    tree.walk(root, e => {
      const a = e.attributes
      if ((a.mode & 0o170000) === 0o040000) return
      const key = `${a.fsid}:${a.ino}`
      groups.set(key, [...(groups.get(key) ?? []), e.path])
    })
  }
  return [...groups.values()]
    .filter(g => g.length > 1)
    .map(g => g.sort().join(' '))
    .sort()
}

t.test('diff(A, B) applied to A gives B, for 60 random pairs', async t => {
  let changes = 0
  let linked = 0
  for (let seed = 1; seed <= 60; seed++) {
    const gardener = new Gardener(seed)
    const a = gardener.tree()
    const b = gardener.chance(0.2) ? gardener.tree() : gardener.mutate(a)
    const digests = seed % 4 > 0
    const before = new MemoryLayer(a, digests)
    const after = new MemoryLayer(b, digests)
    const { root, entries } = layerOf(new MergedTree([before]), new MergedTree([after]))
    changes += entries.length
    const layer = new MemoryLayer(root, digests)
    const left = compare([after], [layer, before])
    if (left.length > 0) t.same(left, [], `seed ${seed}`)
    const [want, got] = [snapshot([after]), snapshot([layer, before])]
    if (want.join('\n') !== got.join('\n')) t.same(got, want, `seed ${seed}: the tree is B`)
    // Links between a changed name and names the change did not reach are kept; unrelated ones stay as they were in A.
    linked += links([after]).length
    const paths = entries.map(e => e.path)
    if (paths.join() !== [...paths].sort().join()) t.fail(`seed ${seed}: order`)
    if (compare([before], [before]).length > 0 || compare([after], [after]).length > 0)
      t.fail(`seed ${seed}: diff(A, A)`)
    const held = before.held + after.held + layer.held
    if (held !== 0) t.fail(`seed ${seed}: ${held} nodes not released`)
  }
  t.ok(changes > 800, `${changes} entries`)
  t.ok(linked > 50, `${linked} hard-linked files`)
})

t.test('the same holds for an upper with whiteouts and opaque marks over two lowers', async t => {
  for (let seed = 1; seed <= 60; seed++) {
    const gardener = new Gardener(seed * 7919)
    const base = new MemoryLayer(gardener.tree(), true)
    const mark = (item: Item): Item => {
      for (const [name, child] of item.children ?? []) {
        if (gardener.chance(0.15)) item.children?.set(name, gone())
        else if (child.children) {
          if (gardener.chance(0.3)) child.opaque = true
          mark(child)
        }
      }
      return item
    }
    const middle = new MemoryLayer(mark(gardener.tree()), true)
    const upper = new MemoryLayer(mark(gardener.tree(2)), true)
    const before = new MergedTree([middle, base])
    const after = new MergedTree([upper, middle, base])
    const layer = new MemoryLayer(layerOf(before, after).root, true)
    const left = compare([upper, middle, base], [layer, middle, base])
    if (left.length > 0) t.same(left, [], `seed ${seed}`)
    const [want, got] = [snapshot([upper, middle, base]), snapshot([layer, middle, base])]
    if (want.join('\n') !== got.join('\n')) t.same(got, want, `seed ${seed}: the tree is the same`)
    const quick = compareTrees(before, after).map(c => `${c.kind} ${c.path}`)
    const flat = (layers: Layer[]): MemoryLayer =>
      new MemoryLayer(layerOf(new MergedTree([]), new MergedTree(layers)).root, true)
    const slow = compare([flat([middle, base])], [flat([upper, middle, base])]).map(c => `${c.kind} ${c.path}`)
    const plain = quick.filter(c => !c.startsWith('replaced'))
    if (plain.join() !== slow.filter(c => plain.includes(c)).join())
      t.same(plain, slow, `seed ${seed}: shortcut and full walk agree`)
    const more = slow.filter(c => !plain.includes(c))
    const opaque = quick.filter(c => c.startsWith('replaced')).map(c => c.replace('replaced', 'modified'))
    if (!more.every(c => opaque.includes(c))) t.same(plain, slow, `seed ${seed}: shortcut misses changes`)
  }
  t.pass('60 stacks')
})

t.test('hard links', async t => {
  t.test('of a changed file: every name is in the layer, the first carries the data', async t => {
    const one = file('one')
    const two = file('two')
    const before = new MemoryLayer(dir({ a: one, b: one, c: file('c') }))
    const after = new MemoryLayer(dir({ a: two, b: two, c: file('c') }))
    const { entries } = layerOf(new MergedTree([before]), new MergedTree([after]))
    t.match(entries, [
      { type: 'node', path: '/a' },
      { type: 'link', path: '/b', target: '/a' },
    ])
  })

  t.test('an upper that keeps links: the names it does not have changed, too', async t => {
    const one = file('one')
    const before = new MemoryLayer(dir({ a: one, d: dir({ b: one, c: one }), x: file('x') }))
    const copied = file('two', { overlay: { origin: '' } })
    const upper = new MemoryLayer(dir({ d: dir({ b: copied, n: copied }) }))
    const trees = [new MergedTree([before]), new MergedTree([upper, before])] as const
    const paths = compareTrees(...trees).map(c => `${c.kind} ${c.path}`)
    t.same(paths, ['modified /a', 'modified /d/b', 'modified /d/c', 'added /d/n'])
    const entries: string[] = []
    eachLayerEntry(...trees, e => {
      const data = e.type === 'node' ? readContent(trees[1], e.entry).toString() : ''
      entries.push(`${e.path} ${e.type} ${e.type === 'link' ? e.target : data}`)
    })
    t.same(entries, ['/a node two', '/d/b link /a', '/d/c link /a', '/d/n link /a'])
    t.equal(before.held + upper.held, 0)
    const fresh = new MemoryLayer(dir({ a: file('two') }))
    t.same(
      compare([before], [fresh, before]).map(c => c.path),
      ['/a'],
      'a new file in the place of one name is no copy of it',
    )
  })

  t.test('a new name for an old file brings the old name along', async t => {
    const one = file('one')
    const before = new MemoryLayer(dir({ a: file('one') }))
    const upper = new MemoryLayer(dir({ a: one, z: one }))
    const { entries, root } = layerOf(new MergedTree([before]), new MergedTree([upper, before]))
    t.match(entries, [
      { type: 'node', path: '/a' },
      { type: 'link', path: '/z', target: '/a' },
    ])
    t.same(links([new MemoryLayer(root), before]), ['/a /z'])
  })
})
