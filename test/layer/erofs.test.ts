import t from 'tap'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { E } from '../../lib/errno.js'
import { FIRST_NID, objectPath } from '../../lib/layer/erofs-format.js'
import { ErofsImage } from '../../lib/layer/erofs-read.js'
import { verifyIndex } from '../../lib/layer/index-bytes.js'
import { IndexLimitError, writeIndex } from '../../lib/layer/erofs-write.js'
import { IndexedLayer } from '../../lib/layer/indexed.js'
import { DT_WHT, isWhiteout } from '../../lib/layer/layer.js'
import { TreeInode, whiteoutInode } from '../../lib/layer/tree.js'
import { DT, MS, MNT, makedev } from '../../lib/sys/constants.js'
import { listdir, readlinkat } from '../../lib/sys/dir.js'
import { close, open, openat, pread } from '../../lib/sys/file.js'
import { mount, umount } from '../../lib/sys/mount.js'
import { Stat, statat } from '../../lib/sys/stat.js'
import { getxattrat, listxattrat } from '../../lib/sys/xattr.js'

t.setTimeout(900_000)

const root = process.getuid?.() === 0
const hasFsck = spawnSync('fsck.erofs', ['-V']).error === undefined

// ext4-like scratch outside the worktree: EROFS does not mount from a file on tmpfs.
const scratch = mkdtempSync('/var/tmp/lamina-erofs-')
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
const objects = join(scratch, 'objects')
mkdirSync(objects)

function putObject(content: Buffer | string): { hex: string; size: number } {
  const hex = createHash('sha256').update(content).digest('hex')
  const path = join(objects, objectPath(hex))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content, { mode: 0o444 })
  return { hex, size: Buffer.byteLength(content) }
}

function dir(mode = 0o755): TreeInode {
  const d = new TreeInode(0o040000 | mode)
  d.mtime = 1700000000
  return d
}

function file(content: string, mode = 0o644): TreeInode {
  const f = new TreeInode(0o100000 | mode)
  f.mtime = 1700000000
  if (content !== '') {
    const { hex, size } = putObject(content)
    f.object = hex
    f.size = size
  }
  return f
}

function symlink(target: string): TreeInode {
  const l = new TreeInode(0o120777)
  l.target = target
  l.size = target.length
  l.mtime = 1700000000
  return l
}

function special(mode: number, rdev: number): TreeInode {
  const n = new TreeInode(mode)
  n.rdev = rdev
  return n
}

/** Collects what differs, so that ten thousand comparisons are one assertion. */
class Differences {
  readonly found: unknown[] = []
  same(got: unknown, want: unknown, where: string): void {
    const a = JSON.stringify(got)
    const b = JSON.stringify(want)
    if (a !== b) this.found.push({ where, got: a, want: b })
  }
}

/** Everything the format can hold at once, as one tree. */
function everything(): TreeInode {
  const top = dir()
  const put = (parent: TreeInode, name: string, inode: TreeInode): TreeInode => {
    parent.children?.set(name, inode)
    return inode
  }
  put(top, 'plain', file('hello\n'))
  put(top, 'same', file('hello\n', 0o600))
  put(top, 'empty', file(''))
  const suid = put(top, 'suid', file('#!/bin/sh\n', 0o4755))
  suid.xattrs = new Map([
    ['security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex')],
    ['user.bin', Buffer.from([0, 255, 10, 128])],
  ])
  const odd = put(top, 'big-owner', file('x'))
  odd.uid = 70000
  odd.gid = 4294967294
  odd.mtime = -5
  odd.mtimeNs = 123456789
  put(top, 'sub', dir(0o1777))
  put(top, 'nul', special(0o020666, makedev(1, 3)))
  put(top, 'disk', special(0o060660, makedev(259, 70000)))
  put(top, 'pipe', special(0o010600, 0))
  put(top, 'sock', special(0o140755, 0))
  put(top, '!before-dot', file('1'))
  put(top, '-dash', file('2'))
  put(top, '\xff\xfe not utf8', file('3'))
  put(top, 'new\nline', file('4'))
  put(top, 'n'.repeat(255), file('5'))
  put(top, 'short-link', symlink('plain'))
  put(top, 'long-link', symlink(`/${'l'.repeat(4018)}`))
  put(top, 'longest-link', symlink('m'.repeat(4095)))
  const hard = put(top, 'hard', file('linked'))
  put(top.children?.get('sub') as TreeInode, 'hard2', hard)
  const many = put(top, 'many', dir())
  for (let i = 0; i < 700; i++) put(many, `entry-${i}`, i % 3 ? file(`c${i % 7}`) : dir())
  // Directory sizes around the inline limit and the block limit, each behind a differently sized neighbour.
  for (let i = 0; i < 40; i++) {
    const d = put(top, `fill-${i}`, dir())
    for (let k = 0; k < i * 4; k++) put(d, `f${'x'.repeat(i % 40)}${k}`, file('x'))
    d.xattrs = new Map([['user.k', Buffer.alloc(i * 13, 7)]])
  }
  const deep = put(top, 'deep', dir())
  let at = deep
  for (let i = 0; i < 300; i++) at = put(at, 'd', dir())
  put(at, 'bottom', file('down'))
  const sparse = put(top, 'huge', file('x'))
  sparse.size = 5e12
  const x = put(top, 'xattrs', file('many xattrs'))
  x.xattrs = new Map()
  for (let i = 0; i < 300; i++) x.xattrs.set(`user.${i}`, Buffer.from(`value ${i}`))
  x.xattrs.set('user.large', Buffer.alloc(60000, 'v'))
  const escaped = put(top, 'escaped', file('e'))
  escaped.xattrs = new Map([
    ['trusted.overlay.redirect', Buffer.from('/evil')],
    ['user.overlay.opaque', Buffer.from('y')],
  ])
  return top
}

t.test(
  'fsck.erofs finds nothing to say about an index',
  { skip: hasFsck ? false : 'fsck.erofs is not installed' },
  async t => {
    for (const [name, tree] of [
      ['everything', everything()],
      ['empty', dir()],
    ] as const) {
      const path = join(scratch, name)
      writeFileSync(path, writeIndex(tree))
      const r = spawnSync('fsck.erofs', ['-d3', path], { encoding: 'utf8' })
      t.equal(r.status, 0, name)
      t.equal(r.stderr, '<I> erofs: No errors found\n')
      t.equal(r.stdout, '')
    }
  },
)

t.test('an index gives back what the tree said', async t => {
  const tree = everything()
  const layer = new IndexedLayer(writeIndex(tree), objects)
  t.teardown(() => layer.close())
  const st = new Stat()
  const d = new Differences()
  let seen = 0
  const compare = (inode: TreeInode, node: number, where: string): void => {
    layer.stat(node, st)
    const got = [st.mode, st.uid, st.gid, st.mtime, st.mtimeNs, st.rdev, st.nlink, st.ino]
    const want = [inode.mode, inode.uid, inode.gid, inode.mtime, inode.mtimeNs, inode.rdev, inode.nlink, inode.nid]
    d.same(got, want, where)
    if (!inode.isDirectory) d.same(st.size, inode.size, where)
    seen++
    if ((inode.mode & 0o170000) === 0o120000) d.same(layer.readlink(node), inode.target, where)
    const names = layer.listxattr(node) as string[]
    d.same([...names].sort(), [...(inode.xattrs?.keys() ?? [])].sort(), `${where} xattrs`)
    for (const [name, value] of inode.xattrs ?? []) d.same(layer.getxattr(node, name), value, `${where} ${name}`)
    if (inode.object !== '') d.same(layer.object(node), inode.object, where)
    if (inode.children === undefined) return
    const listed: string[] = []
    layer.list(node, name => listed.push(name))
    d.same(listed, [...inode.children.keys()].sort(), `${where} listing`)
    for (const [name, child] of inode.children) {
      const found = layer.lookup(node, name, st)
      if (found < 0) d.same(found, 'a node', `${where}/${name}`)
      else compare(child, found, `${where}/${name}`)
    }
  }
  compare(tree, layer.root, '')
  t.same(d.found, [])
  t.ok(seen > 3000, `${seen} entries`)
  t.equal(layer.lookup(layer.root, 'absent', st), -E.ENOENT)
  t.equal(layer.lookup(layer.root, '', st), -E.ENOENT)
  t.equal(layer.lookup(layer.lookup(layer.root, 'plain', st), 'x', st), -E.ENOTDIR)
  t.equal(layer.readlink(layer.root), -E.EINVAL)
  t.equal(layer.getxattr(layer.root, 'user.none'), -E.ENODATA)
  t.equal(layer.open(layer.root), -E.EISDIR)
  t.equal(layer.image.root, FIRST_NID)
})

t.test('files open as their objects, empty ones too; a missing object is ENOENT for that file alone', async t => {
  const tree = dir()
  tree.children?.set('a', file('content of a'))
  tree.children?.set('none', file(''))
  const gone = file('x')
  gone.object = 'f'.repeat(64)
  tree.children?.set('gone', gone)
  putObject('')
  const layer = new IndexedLayer(writeIndex(tree), objects)
  const st = new Stat()
  const read = (name: string): string | number => {
    const fd = layer.open(layer.lookup(layer.root, name, st))
    if (fd < 0) return fd
    const buffer = Buffer.alloc(64)
    const n = pread(fd, buffer, 0)
    close(fd)
    return buffer.toString('latin1', 0, n)
  }
  t.equal(read('a'), 'content of a')
  t.equal(read('none'), '')
  t.equal(read('gone'), -E.ENOENT)
  layer.close()
})

t.test('marks of one layer', async t => {
  const tree = dir()
  const sub = dir()
  sub.opaque = true
  tree.children?.set('sub', sub)
  tree.children?.set('hidden', whiteoutInode())
  const implied = dir()
  implied.implicit = true
  tree.children?.set('implied', implied)
  const layer = new IndexedLayer(writeIndex(tree), objects)
  const st = new Stat()
  const types = new Map<string, number>()
  layer.list(layer.root, (name, type) => types.set(name, type))
  t.same(types.get('hidden'), DT_WHT)
  t.same(types.get('sub'), DT.DIR)
  layer.lookup(layer.root, 'hidden', st)
  t.ok(isWhiteout(st))
  t.ok(layer.isOpaque(layer.lookup(layer.root, 'sub', st)))
  t.notOk(layer.isOpaque(layer.root))
  t.ok(layer.overlayXattr(layer.lookup(layer.root, 'implied', st), 'implicit'))
  t.same(layer.listxattr(layer.lookup(layer.root, 'sub', st)), [])
  layer.close()
})

t.test('the same tree gives the same bytes, whatever order names were added in', async t => {
  const one = dir()
  const two = dir()
  const names = ['b', 'a', 'zz', '\x80', 'c']
  for (const name of names) one.children?.set(name, file(name))
  for (const name of names.reverse()) two.children?.set(name, file(name))
  t.ok(writeIndex(one).equals(writeIndex(two)))
})

t.test('limits of the format are errors', async t => {
  const long = dir()
  long.children?.set('n'.repeat(256), file(''))
  t.throws(() => writeIndex(long), IndexLimitError)
  const foreign = dir()
  foreign.xattrs = new Map([['system.nfs4_acl', Buffer.from('x')]])
  t.throws(() => writeIndex(foreign), IndexLimitError)
  const fat = dir()
  fat.xattrs = new Map()
  for (let i = 0; i < 6; i++) fat.xattrs.set(`user.${i}`, Buffer.alloc(60000, i))
  t.throws(() => writeIndex(fat), IndexLimitError)
})

t.test('a damaged index answers with an errno, never an exception, a hang or a wrong process state', async t => {
  const good = writeIndex(everything())
  t.equal(verifyIndex(good), undefined)
  let random = 12345
  const next = (n: number): number => {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0
    return random % n
  }
  const walk = (image: ErofsImage): number => {
    let budget = 8000
    const st = new Stat()
    const visit = (nid: number, depth: number): void => {
      if (budget-- < 0 || depth > 400) return
      image.stat(nid, st)
      image.readlink(nid)
      image.listXattrs(nid, () => void image.value())
      image.list(nid, (name, _type, child) => {
        if (budget < 0) return
        image.find(nid, name)
        visit(child, depth + 1)
      })
    }
    visit(image.root, 0)
    return budget
  }
  let detected = 0
  for (let round = 0; round < 25; round++) {
    const bad = Buffer.from(good)
    const flips = 1 + next(200)
    for (let i = 0; i < flips; i++) bad[4096 + next(bad.length - 4096)] = next(256)
    walk(new ErofsImage(bad))
    if (verifyIndex(bad) !== undefined) detected++
  }
  t.equal(detected, 25, 'and its hash tells')
  t.throws(() => new ErofsImage(good.subarray(0, 5000)), /truncated/)
  t.throws(() => new ErofsImage(Buffer.alloc(8192)), /not an EROFS/)
  const sb = Buffer.from(good)
  sb[1100] = 1
  t.throws(() => new ErofsImage(sb), /checksum/)
})

const kernel = root && spawnSync('grep', ['-qw', 'erofs', '/proc/filesystems']).status === 0

t.test(
  'the kernel mounts an index and reads files through overlayfs',
  { skip: kernel ? false : 'needs root and EROFS in the kernel' },
  async t => {
    const tree = everything()
    // The kernel reads length from the object, size from the index.
    tree.children?.delete('huge')
    // A mount with trusted.overlay.* leaves user.overlay.* alone: it shows the escaped name, Lamina the file's own.
    tree.children?.get('escaped')?.xattrs?.delete('user.overlay.opaque')
    const bytes = writeIndex(tree)
    const image = join(scratch, 'kernel.erofs')
    const meta = join(scratch, 'meta')
    const merged = join(scratch, 'merged')
    mkdirSync(meta)
    mkdirSync(merged)
    writeFileSync(image, bytes)
    t.equal(mount(image, meta, 'erofs', MS.RDONLY, null), 0, 'erofs mount')
    t.teardown(() => umount(meta, MNT.DETACH))
    const data = `lowerdir=${meta}::${objects},metacopy=on,redirect_dir=on`
    t.equal(mount('overlay', merged, 'overlay', MS.RDONLY, data), 0, 'overlay mount')
    t.teardown(() => umount(merged, MNT.DETACH))

    const layer = new IndexedLayer(bytes, objects)
    t.teardown(() => layer.close())
    const ours = new Stat()
    const theirs = new Stat()
    let compared = 0
    const d = new Differences()
    const compare = (inode: TreeInode, node: number, fd: number, where: string): void => {
      const names: string[] = []
      const listed: string[] = []
      const lister = openat(fd, '.', 0o200000)
      listdir(lister, name => listed.push(name))
      close(lister)
      layer.list(node, name => names.push(name))
      d.same(listed.sort(), names, where)
      for (const name of names) {
        const child = layer.lookup(node, name, ours)
        const r = statat(fd, name, theirs)
        d.same(r, 0, `${where}/${name}: kernel's answer`)
        const pick = (s: Stat): unknown[] => [s.mode, s.uid, s.gid, s.mtime, s.mtimeNs, s.rdev]
        d.same(pick(ours), pick(theirs), `${where}/${name}`)
        const sub = inode.children?.get(name) as TreeInode
        compared++
        if ((ours.mode & 0o170000) === 0o120000) d.same(readlinkat(fd, name), sub.target, name)
        if ((ours.mode & 0o170000) === 0o100000) {
          d.same(theirs.size, ours.size, name)
          d.same(theirs.nlink, ours.nlink, name)
          const got = openat(fd, name, 0)
          const mine = layer.open(child)
          const a = Buffer.alloc(200)
          const b = Buffer.alloc(200)
          if (sub.size > 0) {
            d.same(pread(got, a, 0), pread(mine, b, 0), name)
            d.same(a.equals(b), true, name)
          }
          close(got)
          if (mine >= 0) close(mine)
        }
        const theirNames = listxattrat(fd, name)
        if (typeof theirNames === 'number') d.same(theirNames, 'names', `${where}/${name} listxattr`)
        else {
          d.same([...theirNames].sort(), [...(layer.listxattr(child) as string[])].sort(), `${where}/${name}`)
          for (const x of theirNames) d.same(getxattrat(fd, name, x), layer.getxattr(child, x), x)
        }
        if (sub.isDirectory) {
          const below = openat(fd, name, 0o200000)
          compare(sub, child, below, `${where}/${name}`)
          close(below)
        }
      }
    }
    const fd = open(merged, 0o200000)
    compare(tree, layer.root, fd, '')
    close(fd)
    t.same(d.found, [])
    t.ok(compared > 3000, `${compared} entries`)
  },
)
