/** Directory layers: whiteouts and opaque marks in every encoding mean the same; bookkeeping is hidden; the kernel guards. */
import { mkdirSync, statSync, utimesSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { E } from '../../lib/errno.js'
import { type DirectoryLayer, openDirectoryLayer } from '../../lib/layer/directory.js'
import { DT_WHT, isWhiteout } from '../../lib/layer/layer.js'
import { O } from '../../lib/sys/constants.js'
import { mkdirat } from '../../lib/sys/dir.js'
import { close, openat } from '../../lib/sys/file.js'
import { Stat } from '../../lib/sys/stat.js'
import { createUnion } from '../../lib/union/options.js'
import { dir, type Encoding, file, type Item, opaque, populate, whiteout } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { snapshot } from '../posix/snapshot.js'
import { UnionVfs } from '../posix/union-vfs.js'

const base: readonly Item[] = [
  file('gone', 'x'),
  file('d/gone', 'x'),
  file('d/kept', 'x'),
  file('o/hidden', 'x'),
  file('o/deep/hidden', 'x'),
  file('tree/a/b/c', 'x'),
  file('empty', ''),
]
const over: readonly Item[] = [
  whiteout('gone'),
  dir('d'),
  whiteout('d/gone'),
  dir('o'),
  opaque('o'),
  file('o/new', 'n'),
  whiteout('tree'),
  file('empty', ''),
]

const missing = missingForTrees()
if (missing !== undefined) t.plan(0, missing)
else {
  const scratch = scratchDirectory(t)
  const place = (name: string, ...layers: readonly { items: readonly Item[]; encoding: Encoding }[]): string => {
    const path = join(scratch, name)
    mkdirSync(path)
    for (const { items, encoding } of layers) populate(path, items, encoding)
    return path
  }
  const merged = (...lowers: readonly string[]): string[] => {
    const fs = new UnionVfs()
    fs.attach(createUnion({ lowers: lowers.map(openDirectoryLayer) }), { passthrough: false })
    const lines = snapshot(fs, '', { times: false })
    if (fs.detach() !== 0) t.fail('lookups never given back')
    return lines
  }

  const lower = place('base', { items: base, encoding: 'char' })
  const expected = merged(place('applied', { items: base, encoding: 'char' }, { items: over, encoding: 'apply' }))

  for (const encoding of ['char', 'xattr', 'user', 'wh', 'fuse'] as const) {
    t.test(`whiteouts and opaque marks as ${encoding}`, async t => {
      const path = place(encoding, { items: over, encoding })
      t.same(merged(path, lower), expected)
      const layer = openDirectoryLayer(path)
      const st = new Stat()
      const found = layer.lookup(layer.root, 'gone', st)
      t.ok(found >= 0 && isWhiteout(st), 'a whiteout is answered as one')
      layer.release(found)
      const listed = new Map<string, number>()
      layer.list(layer.root, (name, type) => listed.set(name, type))
      t.equal(listed.get('gone'), DT_WHT)
      t.notOk([...listed.keys()].some(name => name.startsWith('.wh.')))
      const o = layer.lookup(layer.root, 'o', st)
      t.ok(layer.isOpaque(o))
      t.same(layer.listxattr(o), [], 'bookkeeping is hidden')
      layer.release(o)
      layer.close()
    })
  }

  t.test('one hundred layers', async t => {
    const paths = Array.from({ length: 100 }, (_, i) =>
      place(`many${i}`, {
        items: [file(`f${i}`, String(i)), file('same', String(i)), file('d/x', String(i))],
        encoding: 'char',
      }),
    )
    const lines = merged(...paths)
    t.equal(lines.length, 100 + 4)
    const one = merged(paths[0] as string)
    t.equal(
      lines.find(line => line.startsWith('same ')),
      one.find(line => line.startsWith('same ')),
      'the topmost wins',
    )
  })

  t.test('a user attribute that looks like bookkeeping is shown unescaped, and only that', async t => {
    const path = place('escaped', {
      items: [
        file('f', '', {
          xattrs: { 'trusted.overlay.overlay.opaque': 'y', 'trusted.overlay.origin': '', 'user.k': 'v' },
        }),
      ],
      encoding: 'char',
    })
    const layer = openDirectoryLayer(path)
    const st = new Stat()
    const f = layer.lookup(layer.root, 'f', st)
    t.same((layer.listxattr(f) as string[]).toSorted(), ['trusted.overlay.opaque', 'user.k'])
    t.equal(String(layer.getxattr(f, 'trusted.overlay.opaque')), 'y')
    t.equal(String(layer.overlayXattr(f, 'origin')), '')
    layer.release(f)
    layer.close()
  })

  t.test('nothing can be changed through a layer, and reading moves no access time', async t => {
    const path = place('guarded', { items: [file('f', 'text')], encoding: 'char' })
    const layer: DirectoryLayer = openDirectoryLayer(path)
    if (!layer.guarded) t.comment('skip: the kernel gives no read-only clone here')
    else {
      const { fd } = layer.reach(layer.root)
      t.equal(openat(fd, 'f', O.WRONLY), -E.EROFS)
      t.equal(openat(fd, 'g', O.CREAT | O.WRONLY, 0o644), -E.EROFS)
      t.equal(mkdirat(fd, 'new', 0o755), -E.EROFS)
    }
    utimesSync(join(path, 'f'), 1000, 2000)
    const st = new Stat()
    const f = layer.lookup(layer.root, 'f', st)
    const opened = layer.open(f)
    readFileSync(`/proc/self/fd/${opened}`)
    close(opened)
    layer.release(f)
    if (layer.guarded) t.equal(statSync(join(path, 'f')).atimeMs, 1_000_000)
    layer.close()
  })

  t.test('what is no directory is refused with its path', async t => {
    t.throws(() => openDirectoryLayer(join(scratch, 'nowhere')), { code: 'ENOENT', path: join(scratch, 'nowhere') })
    t.throws(() => openDirectoryLayer(join(lower, 'gone')), { code: 'ENOTDIR' })
  })
}
