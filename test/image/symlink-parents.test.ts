/**
 * Names that lead through symlinks, in one layer and across layers: umoci is the oracle. What it extracts we show, name by
 * name; what it refuses we refuse, and the store is as before.
 */
import t, { type Test } from 'tap'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytesOf } from '../../lib/bytes.js'
import { chainOf, hexOf } from '../../lib/digest.js'
import { analyse } from '../../lib/diff/analysis.js'
import { compare } from '../../lib/diff/compare.js'
import { openLayers } from '../../lib/image/chain.js'
import { fsck } from '../../lib/image/fsck.js'
import { pruneImages } from '../../lib/image/gc.js'
import { listImages, type StoredImage } from '../../lib/image/images.js'
import { loadImages } from '../../lib/image/load.js'
import { imageLowers } from '../../lib/image/lowers.js'
import { Store } from '../../lib/image/store.js'
import { tagImage } from '../../lib/image/tag.js'
import { type IndexedLayer, openIndex } from '../../lib/layer/indexed.js'
import type { RawEntry } from '../layer/raw-tar.js'
import { compareWithDirectory } from './compare.js'
import { makeImage, ociLayout } from './made.js'
import { missing } from './tools.js'

t.setTimeout(170_000)
const scratch = mkdtempSync(join(tmpdir(), 'lamina-parents-'))
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))

const dir = (name: string): RawEntry => ({ name: `${name}/`, type: '5', mode: 0o755 })
const file = (name: string, data = name): RawEntry => ({ name, data })
const symlink = (name: string, link: string): RawEntry => ({ name, type: '2', link, mode: 0o777 })
const hard = (name: string, link: string): RawEntry => ({ name, type: '1', link })
const chain = (length: number): RawEntry[] => [
  ...Array.from({ length }, (_, i) => symlink(`c${i}`, i === length - 1 ? 'end' : `c${i + 1}`)),
  file('c0/file'),
]
const merged = [file('usr/lib/old'), file('usr/bin/sh'), symlink('lib', 'usr/lib'), symlink('bin', 'usr/bin')]

/** What both take. The layers, base first, and a name that must be there. */
const taken: [title: string, layers: RawEntry[][], name: string][] = [
  ['in one layer', [[dir('usr/lib'), symlink('lib', 'usr/lib'), file('lib/x')]], 'usr/lib/x'],
  ['to what is not there yet', [[symlink('lib', 'usr/lib'), file('lib/x')]], 'usr/lib/x'],
  ['absolute: from the root of the image', [[symlink('lib', '/usr/lib'), file('lib/x')]], 'usr/lib/x'],
  ['out of the tree: stays in it', [[symlink('a', '../../../../etc'), file('a/passwd')]], 'etc/passwd'],
  ['absolute and out', [[symlink('a', '/../../etc'), file('a/passwd')]], 'etc/passwd'],
  ['to the root', [[symlink('a', '/'), file('a/x')]], 'x'],
  ['upwards, again and again', [[dir('a'), symlink('a/b', '..'), file('a/b/a/b/a/b/x')]], 'x'],
  ['a link to a link', [[symlink('a', 'b'), symlink('b', 'c/d'), symlink('c', '/e'), file('a/x')]], 'e/d/x'],
  ['a long chain', [chain(100)], 'end/file'],
  ['directories below it', [[symlink('lib', 'usr/lib'), dir('lib/sub'), file('lib/sub/x')]], 'usr/lib/sub/x'],
  ['links below it', [[symlink('lib', 'usr/lib'), symlink('lib/s', 'x'), file('lib/t'), hard('h', 'lib/t')]], 'h'],
  ['a symlink as last component is replaced', [[file('t'), symlink('l', 't'), file('l', 'new')]], 'l'],
  ['a directory replaces it', [[...merged, dir('lib'), file('lib/x')]], 'lib/x'],
  ['seen after a directory of the name', [[file('lib/x'), symlink('lib', 'usr/lib'), file('lib/y')]], 'usr/lib/y'],
  ['changed on the way', [[symlink('l', 'a'), file('l/x'), symlink('l', 'b'), file('l/y')]], 'b/y'],
  ['replaced on the way', [[symlink('l', 'a'), file('l/x'), dir('l'), file('l/y')]], 'l/y'],

  ['of the layer below', [merged, [file('lib/x')]], 'usr/lib/x'],
  ['of two layers below', [[dir('etc')], merged, [file('etc/y')], [file('lib/x'), file('bin/y')]], 'usr/lib/x'],
  ['below: a change', [merged, [file('lib/old', 'new')]], 'usr/lib/old'],
  ['below: a whiteout', [merged, [{ name: 'lib/.wh.old' }, file('lib/x')]], 'usr/lib/x'],
  ['below: opaque', [merged, [{ name: 'lib/.wh..wh..opq' }, file('lib/x')]], 'usr/lib/x'],
  ['below: a directory replaces it', [merged, [dir('lib'), file('lib/x')]], 'lib/x'],
  ['below: hidden, then new', [merged, [{ name: '.wh.lib' }, file('lib/x')]], 'lib/x'],
  ['below: absolute, out of the tree', [[symlink('a', '/../../etc')], [file('a/passwd')]], 'etc/passwd'],
  ['below: dangling', [[symlink('a', 'b/c')], [file('a/x')]], 'b/c/x'],
  ['below: a directory below it', [merged, [dir('lib/sub'), file('lib/sub/x'), file('lib/deep/y')]], 'usr/lib/sub/x'],
  ['below: twice on the way', [[symlink('a', 'b'), symlink('b/c', '/d')], [file('a/c/x')]], 'd/x'],
  ['here and below', [merged, [symlink('l', 'lib'), file('l/x')]], 'usr/lib/x'],
  [
    'here and below, both names',
    [merged, [file('lib/x'), file('usr/lib/y'), symlink('a', '/lib'), file('a/z')]],
    'usr/lib/z',
  ],
  ['below: a hard link through it', [merged, [hard('h', 'lib/old')]], 'h'],
  ['below: a hard link in it', [merged, [hard('lib/h', 'bin/sh')]], 'usr/lib/h'],
  ['below: a long chain', [chain(100).slice(0, 100), [file('c0/x')]], 'end/x'],
]

/** What both refuse, and the word we say. */
const refused: [title: string, layers: RawEntry[][], code: string, message: RegExp][] = [
  ['a loop', [[symlink('a', 'b'), symlink('b', 'a'), file('a/x')]], 'TAR_ESCAPE', /loop/],
  ['itself', [[symlink('a', 'a'), file('a/x')]], 'TAR_ESCAPE', /loop/],
  ['a growing loop', [[symlink('a', 'a/a/a/a'), file('a/x')]], 'TAR_ESCAPE', /loop/],
  ['too long a chain', [chain(300)], 'TAR_ESCAPE', /loop/],
  ['a file', [[file('f'), symlink('l', 'f'), file('l/x')]], 'TAR_ESCAPE', /no directory/],
  ['a hard link through a loop', [[symlink('a', 'a'), hard('h', 'a/x')]], 'TAR_ESCAPE', /loop/],
  ['below: a loop', [[symlink('a', 'b'), symlink('b', 'a')], [file('a/x')]], 'LAYER_PARENT', /loop/],
  ['below: a file', [[file('f')], [file('f/x')]], 'LAYER_PARENT', /no directory/],
  ['below: a symlink to a file', [[file('f'), symlink('l', 'f')], [file('l/x')]], 'LAYER_PARENT', /no directory/],
]

/** Only we refuse: `..` after a name that this layer does not have, and what would reach the store's own names. */
const ours: [title: string, layers: RawEntry[][], code: string, message: RegExp][] = [
  [
    'a name of another layer and ..',
    [[symlink('b', 'x/y')], [symlink('a', 'b/..'), file('a/f')]],
    'TAR_ESCAPE',
    /b\/\.\./,
  ],
  ['the reserved name', [[symlink('a', '.lamina'), file('a/ab/x')]], 'TAR_NAME', /reserved/],
  ['the reserved name, below', [[symlink('a', '/.lamina/ab')], [file('a/x')]], 'LAYER_PARENT', /reserved/],
  [
    'too long a name',
    [[symlink('a', 'n'.repeat(90)), { ...symlink('b', ''), pax: { linkpath: 'n'.repeat(300) } }, file('b/x')]],
    'TAR_ESCAPE',
    /too long/,
  ],
]

let stores = 0
function layoutOf(layers: RawEntry[][]): string {
  const layout = join(scratch, `layout${stores++}`)
  mkdirSync(layout)
  ociLayout(makeImage(layers), layout, 'x')
  return layout
}

function umoci(layout: string): string | undefined {
  const bundle = join(scratch, `bundle${stores++}`)
  const r = spawnSync('umoci', ['unpack', '--image', `${layout}:x`, bundle], { encoding: 'utf8' })
  return r.status === 0 ? join(bundle, 'rootfs') : undefined
}

async function load(store: Store, layout: string): Promise<StoredImage> {
  const [image] = await loadImages(store, layout, { name: 'test/parents:1' })
  return image as StoredImage
}

function opened(store: Store, image: StoredImage): { flat: IndexedLayer; layers: IndexedLayer[]; close: () => void } {
  const open = (path: string): IndexedLayer => openIndex(bytesOf(path), bytesOf(store.objects))
  const flat = open(imageLowers(store, image)[0]?.path ?? '')
  const layers = openLayers(
    store,
    image.layers.map(l => l.diffID),
    open,
  )
  return {
    flat,
    layers,
    close: () => {
      for (const layer of [flat, ...layers]) layer.close()
    },
  }
}

/** The layers one by one mean the same tree as all of them flattened. */
function layersAgree(t: Test, store: Store, image: StoredImage): void {
  const { flat, layers, close } = opened(store, image)
  t.same(
    compare([...layers].reverse(), [flat]).map(c => `${c.kind} ${c.path}`),
    [],
    'the stack of layers shows what is mounted',
  )
  const names = (tree: ReturnType<typeof analyse>): string[] => {
    const found: string[] = []
    const walk = (node: NonNullable<typeof tree.root>, path: string): void => {
      for (const child of node.children?.values() ?? []) {
        found.push(`${path}/${child.name}`)
        walk(child, `${path}/${child.name}`)
      }
    }
    if (tree.root !== undefined) walk(tree.root, '')
    return found.sort()
  }
  t.same(names(analyse(layers)), names(analyse([flat])), 'and so does the account of the image')
  close()
}

const skip = missing('umoci')

for (const [title, layers, name] of taken)
  t.test(`taken: ${title}`, { skip }, async t => {
    const layout = layoutOf(layers)
    const rootfs = umoci(layout)
    if (rootfs === undefined) {
      t.fail('umoci refuses it')
      return
    }
    const store = Store.open(join(scratch, `store${stores++}`))
    const image = await load(store, layout)
    const { flat, close } = opened(store, image)
    // Directories that nothing describes have the epoch here, and the time of extraction there.
    const { differences } = compareWithDirectory(flat, rootfs, {
      times: path => !lstatSync(rootfs + path).isDirectory(),
    })
    t.same(differences, [])
    t.ok(existsSync(join(rootfs, name)), `${name} is there`)
    close()
    layersAgree(t, store, image)
    t.same((await fsck(store)).problems, [])
    rmSync(rootfs, { recursive: true })
  })

for (const [table, all] of [
  [refused, true],
  [ours, false],
] as const)
  for (const [title, layers, code, message] of table)
    t.test(`refused: ${title}`, { skip }, async t => {
      const layout = layoutOf(layers)
      if (all) t.equal(umoci(layout), undefined, 'umoci refuses it too')
      const store = Store.open(join(scratch, `store${stores++}`))
      await t.rejects(load(store, layout), { code, message })
      t.same(listImages(store), [], 'no image appeared')
      t.same((await fsck(store)).problems, [])
    })

t.test('a settled layer is kept with its image, and goes with it', { skip }, async t => {
  const store = Store.open(join(scratch, `store${stores++}`))
  const image = await load(store, layoutOf([merged, [file('lib/x')], [file('etc/z')]]))
  const settled = `${hexOf(chainOf(image.layers.slice(0, 2).map(l => l.diffID)) as never)}.top`
  const chains = (): string[] => readdirSync(join(store.root, 'chains'))
  t.ok(chains().includes(settled))
  await pruneImages(store)
  t.ok(chains().includes(settled), 'used')
  writeFileSync(join(store.root, 'chains', settled), 'damaged')
  t.match((await fsck(store)).problems, [{ kind: 'chain' }], 'damage is found')
  t.match((await fsck(store, { repair: true })).problems, [{ repaired: true }])
  t.same((await fsck(store)).problems, [])
  layersAgree(t, store, image)
  await tagImage(store, 'test/parents:1', 'test/other:1')
  await pruneImages(store, { all: true })
  t.notOk(chains().includes(settled), 'collected')
})
