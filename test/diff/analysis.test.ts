import t, { type Test } from 'tap'
import { analyse, duplicates, type PathEvent, storeAccount } from '../../lib/diff/analysis.js'
import { dir, file, gone, type Item, link, MemoryLayer } from './memory-layer.js'
import { Gardener } from './random-tree.js'

const layersOf = (...items: Item[]): MemoryLayer[] => items.map(i => new MemoryLayer(i, true))

/** Everything the account says, computed another way: whole states as maps of paths, compared layer by layer. */
function slowly(roots: readonly Item[]) {
  let state = new Map<string, { layer: number; item: Item }>()
  const counts = roots.map((root, layer) => {
    const before = new Map(state)
    const entries: [string, Item][] = []
    const collect = (item: Item, path: string): void => {
      entries.push([path, item])
      for (const [name, child] of item.children ?? []) collect(child, `${path}/${name}`)
    }
    collect(root, '')
    const drop = (path: string, self: boolean): void => {
      for (const p of state.keys()) if (p.startsWith(`${path}/`) || (self && p === path)) state.delete(p)
    }
    for (const [path, item] of entries) {
      if (item.whiteout) drop(path, true)
      else if (item.opaque) drop(path, false)
    }
    for (const [path, item] of entries) {
      if (item.whiteout) continue
      if (!item.children) drop(path, true)
      state.set(path, { layer, item })
    }
    const files = (s: typeof state): Set<string> => new Set([...s].filter(([, e]) => !e.item.children).map(([p]) => p))
    const [old, now] = [files(before), files(state)]
    const result = {
      added: [...now].filter(p => !old.has(p)).length,
      changed: [...now].filter(p => old.has(p) && state.get(p)?.layer === layer).length,
      removed: [...old].filter(p => !now.has(p)).length,
    }
    state = new Map(state)
    return result
  })
  const visible = new Set([...state.values()].map(e => e.item))
  const stored = roots.map(root => {
    const all = new Set<Item>()
    const collect = (item: Item): void => {
      if (!item.whiteout) all.add(item)
      for (const child of item.children?.values() ?? []) collect(child)
    }
    collect(root)
    return [...all].filter(i => i.data !== undefined)
  })
  const bytes = (items: Item[]): number => items.reduce((n, i) => n + (i.data?.length ?? 0), 0)
  return {
    counts,
    bytes: stored.map(bytes),
    visible: stored.map(items => bytes(items.filter(i => visible.has(i)))),
    paths: [...state]
      .filter(([, e]) => !e.item.children)
      .map(([p]) => p)
      .sort(),
  }
}

const mark = (g: Gardener, item: Item): Item => {
  for (const [name, child] of item.children ?? []) {
    if (g.chance(0.15)) item.children?.set(name, gone())
    else if (child.children) {
      if (g.chance(0.2)) child.opaque = true
      mark(g, child)
    }
  }
  return item
}

t.test('agrees with a slow, independent account of 150 random images', async t => {
  let wasted = 0
  for (let seed = 1; seed <= 150; seed++) {
    const g = new Gardener(seed)
    const roots = [g.tree(), mark(g, g.tree()), mark(g, g.tree(2)), mark(g, g.tree())]
    const layers = layersOf(...roots)
    const found = new Set<string>()
    const each = (e: PathEvent): void => {
      if (e.node.children) return
      if (e.kind === 'removed') found.delete(e.path)
      else found.add(e.path)
    }
    const a = analyse(layers, each)
    const want = slowly(roots)
    wasted += a.wastedBytes
    const ok =
      t.same(
        a.layers.map(({ added, changed, removed }) => ({ added, changed, removed })),
        want.counts,
        `seed ${seed}`,
      ) &&
      t.same(
        a.layers.map(l => l.bytes),
        want.bytes,
      ) &&
      t.same(
        a.layers.map(l => l.visibleBytes),
        want.visible,
      ) &&
      t.same([...found].sort(), want.paths) &&
      t.equal(
        a.layers.reduce((n, l) => n + l.hiddenBytes, 0),
        a.wastedBytes,
      ) &&
      t.equal(a.totalBytes, a.wastedBytes + a.layers.reduce((n, l) => n + l.visibleBytes, 0)) &&
      t.equal(
        layers.reduce((n, l) => n + l.held, 0),
        0,
      )
    if (!ok) break
  }
  t.ok(wasted > 1000, `${wasted} bytes wasted in all`)
})

const waste = (t: Test, items: Item[]): string[] => {
  const a = analyse(layersOf(...items))
  t.equal(
    a.waste.reduce((n, w) => n + w.bytes, 0),
    a.wastedBytes,
  )
  return a.waste.map(w => `${w.bytes} ${w.path} of ${w.layer} by ${w.by} ${w.how}`)
}

t.test('each wasted byte is counted once', async t => {
  t.test('a file rewritten twice wastes the two hidden copies, not the visible one', async t => {
    t.same(waste(t, [dir({ a: file('12345') }), dir({ a: file('1234567') }), dir({ a: file('9') })]), [
      '7 /a of 1 by 2 overwritten',
      '5 /a of 0 by 1 overwritten',
    ])
  })

  t.test('written again and removed is not counted twice', async t => {
    t.same(waste(t, [dir({ a: file('12345') }), dir({ a: file('123') }), dir({ a: gone() })]), [
      '5 /a of 0 by 1 overwritten',
      '3 /a of 1 by 2 removed',
    ])
  })

  t.test('hard links are one unit, wasted when the last name goes', async t => {
    const f = file('12345')
    const base = (): Item => dir({ a: f, b: f })
    t.same(waste(t, [base(), dir({ a: gone() })]), [], 'b still shows it')
    t.same(waste(t, [base(), dir({ a: gone() }), dir({ b: file('') })]), ['5 /b of 0 by 2 overwritten'])
    const a = analyse(layersOf(base()))
    t.equal(a.totalBytes, 5)
    t.equal(a.layers[0]?.added, 2)
  })

  t.test('a removed directory wastes what was in it', async t => {
    t.same(waste(t, [dir({ d: dir({ a: file('123'), e: dir({ b: file('12') }) }) }), dir({ d: gone() })]), [
      '3 /d/a of 0 by 1 removed',
      '2 /d/e/b of 0 by 1 removed',
    ])
  })

  t.test('opaque directories, file to directory, directory to symlink', async t => {
    t.same(
      waste(t, [
        dir({ d: dir({ a: file('123'), b: file('12') }) }),
        dir({ d: dir({ b: file('9') }, { opaque: true }) }),
      ]),
      ['3 /d/a of 0 by 1 removed', '2 /d/b of 0 by 1 overwritten'],
    )
    t.same(waste(t, [dir({ f: file('123') }), dir({ f: dir({ g: file('1') }) })]), ['3 /f of 0 by 1 overwritten'])
    t.same(waste(t, [dir({ d: dir({ a: file('123') }) }), dir({ d: link('x') })]), ['3 /d/a of 0 by 1 overwritten'])
  })

  t.test('a dangling whiteout is counted as such and stops nothing', async t => {
    const a = analyse(
      layersOf(dir({ a: file('123') }), dir({ nothing: gone(), no: dir({ where: gone() }), a: gone() })),
    )
    t.match(a.layers[1], { danglingWhiteouts: 2, whiteouts: 3, removed: 1, hiddenBytes: 3 })
  })

  t.test('a change of mode alone stores the data again: the layer wastes it, the store does not', async t => {
    const layers = layersOf(dir({ a: file('12345') }), dir({ a: file('12345', { mode: 0o104755 }) }))
    const a = analyse(layers)
    t.equal(a.totalBytes, 10)
    t.equal(a.wastedBytes, 5)
    t.equal(a.efficiency, 0.5)
    t.same(storeAccount(a, layers), { bytes: 5, wastedBytes: 0 })
    const lost = layersOf(dir({ a: file('12345'), b: file('12') }), dir({ b: gone() }))
    t.same(storeAccount(analyse(lost), lost), { bytes: 7, wastedBytes: 2 })
  })

  t.test('an empty image is as efficient as can be', async t => {
    t.equal(analyse([]).efficiency, 1)
    t.equal(analyse(layersOf(dir())).efficiency, 1)
  })
})

t.test('duplicates: equal data under several paths, hard links being one copy', async t => {
  const f = file('same')
  const layers = layersOf(dir({ a: f, b: f, c: file('same'), d: file('else') }), dir({ x: dir({ e: file('same') }) }))
  t.match(duplicates(analyse(layers), layers), [{ bytes: 4, copies: 3, paths: ['/a', '/b', '/c', '/x/e'] }])
  const linked = layersOf(dir({ a: f, b: f }))
  t.same(duplicates(analyse(linked), linked), [])
  const plain = [new MemoryLayer(dir({ a: file('one'), b: file('two'), c: file('one'), d: file('four') }))]
  const asked: string[] = []
  const digestOf = (path: string): string => {
    asked.push(path)
    return path === '/b' ? '2' : '1'
  }
  t.match(duplicates(analyse(plain), plain, digestOf), [{ paths: ['/a', '/c'], copies: 2 }])
  t.same(asked.sort(), ['/a', '/b', '/c'], 'only sizes that occur twice are read')
  t.equal(storeAccount(analyse(plain), plain), undefined)
})
