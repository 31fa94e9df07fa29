/**
 * What a listing brings to the kernel's knowledge has an id and no node, and nobody can tell: asked for by id or by name it is
 * what it would have been, and forgotten it leaves nothing.
 */
import t, { type Test } from 'tap'
import { linkSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { E } from '../../lib/errno.js'
import { openDirectoryLayer } from '../../lib/layer/directory.js'
import { writeIndex } from '../../lib/layer/erofs-write.js'
import { IndexedLayer } from '../../lib/layer/indexed.js'
import type { Layer } from '../../lib/layer/layer.js'
import { TreeInode } from '../../lib/layer/tree.js'
import { S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { type Entry, noChange, type NodeId, ROOT, SetAttrValid } from '../../lib/union/filesystem.js'
import type { Tree } from '../../lib/union/tree.js'
import type { Union } from '../../lib/union/union.js'
import { missingForTrees, scratchDirectory } from '../posix/scratch.js'
import { newEntry } from '../posix/union-vfs.js'
import { caller, unionOver } from './driven.js'

const missing = missingForTrees()
const skip = missing ?? false
const scratch = missing === undefined ? scratchDirectory(t) : ''

const FILES = 300
/** In each: `d` with files of one link, one file of two links and a directory. */
const lowers: Readonly<Record<string, () => Layer>> = {
  directory() {
    const lower = mkdtempSync(join(scratch, 'lower-'))
    mkdirSync(join(lower, 'd', 'inside'), { recursive: true })
    for (let i = 0; i < FILES; i++) writeFileSync(join(lower, 'd', `f${i}`), 'x'.repeat(i))
    writeFileSync(join(lower, 'd', 'one'), 'linked')
    linkSync(join(lower, 'd', 'one'), join(lower, 'd', 'two'))
    return openDirectoryLayer(lower)
  },
  index() {
    const root = new TreeInode(S.IFDIR | 0o755)
    const d = new TreeInode(S.IFDIR | 0o755)
    root.children?.set('d', d)
    d.children?.set('inside', new TreeInode(S.IFDIR | 0o755))
    for (let i = 0; i < FILES; i++) d.children?.set(`f${i}`, new TreeInode(S.IFREG | 0o644))
    const linked = new TreeInode(S.IFREG | 0o644)
    d.children?.set('one', linked)
    d.children?.set('two', linked)
    return new IndexedLayer(writeIndex(root), scratch)
  },
}

interface Listed {
  readonly id: NodeId
  readonly generation: number
  readonly attributes: string
}

class Mounted {
  readonly tree: Tree
  readonly fs: Union
  readonly d: NodeId
  /** Lookups that the kernel has of each id. */
  readonly known = new Map<NodeId, number>()

  constructor(t: Test, lower: Layer) {
    ;({ tree: this.tree, fs: this.fs } = unionOver(t, scratch, lower))
    this.d = this.lookup(ROOT, 'd').id
  }

  lookup(parent: NodeId, name: string): Listed {
    const entry = newEntry()
    if (this.fs.lookup(caller, parent, name, entry) < 0 || entry.nodeid === 0) throw new Error(name)
    return this.#count(entry)
  }

  #count({ nodeid, generation, attr }: Entry): Listed {
    this.known.set(nodeid, (this.known.get(nodeid) ?? 0) + 1)
    return { id: nodeid, generation, attributes: told(attr) }
  }

  /** Lists `d` to its end, `room` entries at a time. */
  list(room = 40): Map<string, Listed> {
    const found = new Map<string, Listed>()
    for (let offset = 0, taken = -1; taken !== 0;) {
      taken = 0
      this.fs.readdir(caller, this.d, offset, {
        plus: true,
        name: () => false,
        entry: (names, from, to, at, entry) => {
          if (taken === room) return false
          taken++
          offset = at
          if (entry.nodeid !== 0) found.set(names.latin1Slice(from, to), this.#count(entry))
          return true
        },
      })
    }
    return found
  }

  /** How many of the names have a node. */
  nodesIn(listed: ReadonlyMap<string, Listed>): number {
    return [...listed.values()].filter(({ id }) => this.tree.nodes.get(id) !== undefined).length
  }

  getattr(id: NodeId): string {
    const st = new Stat()
    const r = this.fs.getattr(caller, id, 0, st)
    return r < 0 ? String(r) : told(st)
  }

  /** The kernel forgets all but the directory; how many nodes and ids are left. */
  forget(): number {
    for (const [id, count] of this.known) if (id !== this.d) this.fs.forget(id, count)
    this.known.clear()
    return this.tree.nodes.size
  }
}

function told(st: Stat): string {
  const { mode, nlink, uid, gid, ino, size, blocks, mtime, mtimeNs } = st
  return [mode.toString(8), nlink, uid, gid, ino, size, blocks, mtime, mtimeNs].join(' ')
}

for (const [kind, make] of Object.entries(lowers)) {
  t.test(`lower: ${kind}`, { skip }, async t => {
    t.test('a file has no node until it is asked for, and then the same id and attributes', async t => {
      const m = new Mounted(t, make())
      const listed = m.list()
      t.equal(listed.size, FILES + 3)
      t.equal(m.nodesIn(listed), 3, 'the directory has one, and the file of two names')
      t.equal(m.tree.nodes.size, FILES + 4)
      const byId = listed.get('f7') as Listed
      t.equal(m.getattr(byId.id), byId.attributes)
      const byName = listed.get('f8') as Listed
      t.same(m.lookup(m.d, 'f8'), byName)
      t.equal(m.nodesIn(listed), 5)
      t.same(m.list(), listed, 'listed again')
      t.equal(m.tree.nodes.size, FILES + 4, 'an id each, once')
      t.equal(m.forget(), 2, 'the root and the directory')
      t.equal(m.getattr(byId.id), String(-E.ESTALE))
    })

    t.test('what a listing had no room for is not known', async t => {
      const m = new Mounted(t, make())
      m.fs.readdir(caller, m.d, 0, { plus: true, name: () => false, entry: (_names, _from, to) => to <= 2 })
      t.ok(m.tree.nodes.size <= 3)
    })

    t.test('one lookup too many is left: it is still there', async t => {
      const m = new Mounted(t, make())
      const { id, attributes } = m.list().get('f9') as Listed
      m.list()
      m.fs.forget(id, 1)
      t.equal(m.getattr(id), attributes)
      m.known.set(id, 1)
      t.equal(m.forget(), 2)
    })

    t.test('changes find it by id and by name', async t => {
      const m = new Mounted(t, make())
      const listed = m.list()
      const idOf = (name: string): NodeId => listed.get(name)?.id ?? 0
      t.equal(m.fs.unlink(caller, m.d, 'f1'), 0)
      t.equal(m.getattr(idOf('f1')).split(' ')[1], '0', 'no link is left')
      t.equal(m.fs.rename(caller, m.d, 'f2', m.d, 'moved', 0), 0)
      t.equal(m.getattr(idOf('f2')), listed.get('f2')?.attributes)
      const st = new Stat()
      const mode = { ...noChange(), valid: SetAttrValid.Mode, mode: 0o600 }
      t.ok(m.fs.setattr(caller, idOf('f3'), mode, st) >= 0)
      const entry = newEntry()
      t.equal(m.fs.link(caller, idOf('f4'), m.d, 'also', entry), 0)
      t.equal(entry.nodeid, idOf('f4'))
      m.known.set(entry.nodeid, (m.known.get(entry.nodeid) ?? 0) + 1)
      const after = m.list()
      t.notOk(after.has('f1') || after.has('f2'))
      t.equal(after.get('moved')?.id, idOf('f2'))
      t.equal(after.get('f3')?.attributes.split(' ')[0], '100600')
      t.equal(after.get('also')?.id, idOf('f4'))
      t.same(after.get('f5'), listed.get('f5'))
      t.equal(m.forget(), 2)
    })

    t.test('names made meanwhile, and a listing that is not kept, change no id', async t => {
      const m = new Mounted(t, make())
      const listed = m.list()
      for (let i = 0; i < 50; i++) {
        const entry = newEntry()
        t.equal(m.fs.mknod(caller, m.d, `new${i}`, S.IFREG | 0o644, 0, entry), 0)
        m.known.set(entry.nodeid, 1)
      }
      t.equal(m.fs.unlink(caller, m.d, 'f0'), 0)
      const later = m.list(7)
      t.equal(later.size, listed.size + 49)
      for (const [name, was] of listed) if (name !== 'f0') t.same(later.get(name), was)
      m.tree.listings.clear()
      t.equal(m.list().get('f11')?.id, listed.get('f11')?.id)
      t.equal(m.forget(), 2)
      t.equal(m.tree.get(m.d)?.dir?.listing?.known ?? 0, 0)
    })
  })
}
