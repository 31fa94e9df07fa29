/** Owners shown otherwise than the layers have them: shifted ranges, all squashed to one, and owners kept in attributes. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { E } from '../../lib/errno.js'
import { applyOverride, overrideOf } from '../../lib/layer/override.js'
import { O } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { IdMap } from '../../lib/union/id-map.js'
import { dir, file } from '../posix/population.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import type { UnionVfs } from '../posix/union-vfs.js'
import { Stack } from './stack.js'

const owner = (fs: UnionVfs, path: string): readonly number[] => {
  const st = new Stat()
  return fs.stat(path, st) < 0 ? [] : [st.uid, st.gid]
}
const raw = (path: string): readonly number[] => {
  const st = statSync(path)
  return [st.uid, st.gid]
}

t.test('an owner kept in an attribute reads back as it was, and nonsense changes nothing', async t => {
  const st = new Stat()
  st.mode = 0o100755
  applyOverride(st, Buffer.from('33:44:4711'))
  t.same([st.uid, st.gid, st.mode], [33, 44, 0o104711])
  t.equal(String(overrideOf(st)), '33:44:4711')
  for (const odd of ['', '1', '1:2', '1:2:9', 'a:b:c', '-1:2:755']) applyOverride(st, Buffer.from(odd))
  applyOverride(st, Buffer.from('1:2:0644:file'))
  t.same([st.uid, st.gid, st.mode], [1, 2, 0o100644], 'a file type behind it is allowed')
})

t.test('ranges map both ways; what is outside shows as nobody and cannot be given', async t => {
  const map = new IdMap({ uids: [{ shown: 0, stored: 100_000, count: 1000 }] })
  const st = new Stat()
  for (const [stored, shown] of [
    [100_000, 0],
    [100_999, 999],
    [101_000, 65_534],
    [5, 65_534],
  ] as const) {
    st.uid = stored
    st.gid = 7
    map.show(st)
    t.same([st.uid, st.gid], [shown, 7])
  }
  t.equal(map.storedUid(999), 100_999)
  t.equal(map.storedUid(1000), -2)
})

const missing = missingForTrees()
if (missing !== undefined) t.comment(`skip: ${missing}`)
else {
  const scratch = scratchDirectory(t)
  const layers = [[dir('d', { uid: 100_005, gid: 100_006 }), file('d/f', 'x', { uid: 100_005, gid: 100_006 })]]

  t.test('a shifted tree: shown, made, given away and copied up with the ids of the layers', async t => {
    const stack = new Stack(join(scratch, 'shifted'), layers)
    const range = [{ shown: 0, stored: 100_000, count: 65_536 }]
    stack.union(
      fs => {
        t.same(owner(fs, 'd/f'), [5, 6])
        t.equal(fs.chmod('d/f', 0o600), 0)
        t.same(raw(join(stack.upper, 'd/f')), [100_005, 100_006], 'copied up')
        t.equal(fs.chown('d/f', 8, -1), 0)
        t.same(owner(fs, 'd/f'), [8, 6])
        t.same(raw(join(stack.upper, 'd/f')), [100_008, 100_006])
        t.equal(fs.chown('d/f', 70_000, -1), -E.EINVAL)
        const fd = fs.open('d/new', O.CREAT | O.WRONLY, 0o644)
        fs.close(fd)
        t.same(owner(fs, 'd/new'), [0, 0])
        t.same(raw(join(stack.upper, 'd/new')), [100_000, 100_000])
      },
      undefined,
      { ids: { uids: range, gids: range } },
    )
    stack.remove()
  })

  t.test('a squashed tree belongs to one; giving away succeeds and changes nothing', async t => {
    const stack = new Stack(join(scratch, 'squashed'), layers)
    stack.union(
      fs => {
        t.same(owner(fs, 'd/f'), [0, 0])
        t.equal(fs.chown('d/f', 33, 33), 0)
        t.same(owner(fs, 'd/f'), [0, 0])
        t.same(raw(join(stack.upper, 'd/f')), [100_005, 100_006])
        t.equal(fs.mkdir('d/new', 0o755), 0)
        t.same(owner(fs, 'd/new'), [0, 0])
      },
      undefined,
      { ids: { squashToUid: 0, squashToGid: 0 } },
    )
    stack.remove()
  })
}
