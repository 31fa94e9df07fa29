/**
 * What the union remembers is bounded: nodes go when the kernel forgets them, ids are given again under another generation,
 * and a long listing costs what it lists, not its square.
 */
import { mkdirSync, openSync, closeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { O } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { noChange, notOpened, ROOT, SetAttrValid } from '../../lib/union/filesystem.js'
import { Found, hashOf } from '../../lib/union/found.js'
import { Listing, NOWHERE, UPPER } from '../../lib/union/listing.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { newEntry } from '../posix/union-vfs.js'
import { caller, unionOver } from './driven.js'
import { arm } from './faults.js'

/** Regular files, all in the first lower. */
function found(names: readonly string[]): Found {
  const all = new Found()
  for (const name of names) all.push(name, 8, 0, 0)
  return all
}
const namesOf = (listing: Listing): string[] => Array.from({ length: listing.length }, (_, i) => listing.name(i))

t.test('offsets belong to names: they survive other names coming and going', async t => {
  const listing = (names: readonly string[]): Map<string, number> => {
    const made = new Listing(found(names))
    return new Map(namesOf(made).map((name, i) => [name, made.offset(i)]))
  }
  const names = Array.from({ length: 5000 }, (_, i) => `name-${i}`)
  const all = listing(names)
  const some = listing(names.filter((_, i) => i % 3 === 0))
  for (const [name, offset] of some) if (all.get(name) !== offset) t.fail(name)
  t.equal(new Set(all.values()).size, names.length, 'all different')
  t.ok([...all.values()].every(o => Number.isSafeInteger(o) && o >= 3))
  t.equal(hashOf('a'), hashOf('a'))
})

t.test('a listing follows what is added and removed', async t => {
  const listing = new Listing(found(['a', 'b', 'd']))
  listing.remove('a')
  listing.add('c', 4, 7, true)
  listing.add('c', 4, 7, true)
  t.equal(listing.count, 3)
  listing.moveUp('d')
  const settled = listing.settled(new Found())
  t.same(namesOf(settled).toSorted(), ['b', 'c', 'd'])
  settled.remove('nobody')
  t.equal(settled.count, 3)
  for (const [which, l] of Object.entries({ before: listing, settled })) {
    t.same(
      ['a', 'b', 'c', 'd', 'e'].map(name => l.place(name)),
      [NOWHERE, 0, UPPER, UPPER, NOWHERE],
      `where each stands, ${which}`,
    )
    t.same(
      ['b', 'c', 'd'].map(name => l.isOnlyUpper(name)),
      [false, true, false],
      `what no lower has, ${which}`,
    )
  }
})

const missing = missingForTrees()
if (missing !== undefined) t.comment(`skip: ${missing}`)
else {
  const scratch = scratchDirectory(t)
  const lower = join(scratch, 'lower')
  const N = 20_000
  for (const d of ['', '/d']) mkdirSync(lower + d)
  for (let i = 0; i < N; i++) closeSync(openSync(join(lower, 'd', `f${i}`), 'w'))
  const { tree, fs } = unionOver(t, scratch, openDirectoryLayer(lower))
  const dir = newEntry()
  fs.lookup(caller, ROOT, 'd', dir)

  t.test('20,000 names listed in small pieces, each once; forgotten, nothing is left', async t => {
    const seen = new Set<string>()
    const ids: number[] = []
    for (let offset = 0; ;) {
      let taken = 0
      fs.readdir(caller, dir.nodeid, offset, {
        plus: true,
        name: () => false,
        entry(names, from, to, at, entry) {
          if (taken === 40) return false
          taken++
          offset = at
          if (entry.nodeid !== 0) {
            const name = names.latin1Slice(from, to)
            if (seen.has(name)) t.fail(`twice: ${name}`)
            seen.add(name)
            ids.push(entry.nodeid)
          }
          return true
        },
      })
      if (taken === 0) break
    }
    t.equal(seen.size, N)
    t.equal(tree.nodes.size, N + 2, 'a node each, the root and the directory')
    for (const id of ids) fs.forget(id, 1)
    t.equal(tree.nodes.size, 2)
    t.equal(tree.linked.size, 0)
  })

  t.test('churn: names made and removed leave no node, handle or id behind', async t => {
    const entry = newEntry()
    const open = notOpened()
    let highest = 0
    const generations = new Set<number>()
    for (let i = 0; i < 3000; i++) {
      if (fs.create(caller, dir.nodeid, 'x', 0o644, O.WRONLY, false, entry, open) < 0) t.fail('create')
      highest = Math.max(highest, entry.nodeid)
      if (entry.nodeid === highest) generations.add(entry.generation)
      if (open.handle > 3) t.fail('handles grow')
      if (fs.unlink(caller, dir.nodeid, 'x') < 0) t.fail('unlink')
      fs.release(entry.nodeid, open.handle)
      fs.forget(entry.nodeid, 1)
    }
    t.equal(tree.nodes.size, 2)
    t.ok(highest <= N + 4, 'ids are given again')
    t.ok(generations.size > 1000, 'under another generation')
  })

  t.test('what a writeback cache says of a removed lower file is no reason to copy it; a new time is', async t => {
    const entry = newEntry()
    const out = new Stat()
    t.ok(fs.lookup(caller, dir.nodeid, 'f7', entry) >= 0)
    const { mtime, mtimeNs } = entry.attr
    t.equal(fs.unlink(caller, dir.nodeid, 'f7'), 0)
    const request = { ...noChange(), valid: SetAttrValid.Mtime | SetAttrValid.Ctime, mtime, mtimeNs }
    const count = arm()
    const said = fs.setattr(caller, entry.nodeid, request, out)
    const quiet = count.calls()
    const changed = fs.setattr(caller, entry.nodeid, { ...request, mtime: mtime - 9 }, out)
    count.disarm()
    t.ok(said >= 0)
    t.equal(quiet, 0, 'nothing was written')
    t.ok(changed >= 0)
    t.ok(count.calls() > 0)
    t.equal(out.mtime, mtime - 9)
    t.equal(out.nlink, 0)
    fs.forget(entry.nodeid, 1)
    t.equal(tree.nodes.size, 2)
  })

  t.test('a directory that is forgotten stays as long as a child is known', async t => {
    const entry = newEntry()
    fs.lookup(caller, dir.nodeid, 'f1', entry)
    fs.forget(dir.nodeid, 1)
    t.equal(tree.nodes.size, 3)
    t.ok(fs.getattr(caller, entry.nodeid, 0, entry.attr) >= 0)
    fs.forget(entry.nodeid, 1)
    t.equal(tree.nodes.size, 1)
  })
}
