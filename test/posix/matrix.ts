/**
 * Owns the matrix: every operation, on every kind of name that a layered tree can have, with every state of an open handle.
 * What is right is not written down but taken from the oracle: the same is done in a plain directory, and results, the
 * tree, and the tree after a remount must be alike.
 */
import { FALLOC, O, RENAME, S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { outcome, type Test } from './case.js'
import { dir, fifo, file, hardlink, opaque, symlink, whiteout, type Item } from './population.js'
import { scope } from './scope.js'
import { snapshot } from './snapshot.js'
import type { Layers, Target } from './target.js'
import type { Vfs } from './vfs.js'

interface Kind {
  readonly layers: Layers
  readonly prepare?: (fs: Vfs) => void
}

const text = 'contents of x'.repeat(700)
const x: Item = file('x', text, { mode: 0o640, uid: 7, xattrs: { 'user.a': '1' } })
const inside = [dir('x', { mode: 0o750 }), file('x/in', 'in'), dir('x/sub'), file('x/sub/deep', 'deep')]
const append = (fs: Vfs): void => {
  const fd = fs.open('x', O.WRONLY)
  fs.pwrite(fd, Buffer.from('!'), text.length)
  fs.close(fd)
}

/** What the name `x` is. Beside it are always `file`, `dir` (empty) and `full` (not empty), in the base. */
const kinds: Readonly<Record<string, Kind>> = {
  nothing: { layers: { lowers: [[]] } },
  'lower file': { layers: { lowers: [[x]] } },
  'lower file below another layer': { layers: { lowers: [[x], [file('other')]] } },
  'lower file over a lower file': { layers: { lowers: [[file('x', 'older')], [x]] } },
  'upper file': { layers: { lowers: [[]], upper: [x] } },
  'upper file over a lower one': { layers: { lowers: [[file('x', 'older')]], upper: [x] } },
  'upper file over a lower directory': { layers: { lowers: [inside], upper: [x] } },
  'written lower file': { layers: { lowers: [[x]] }, prepare: append },
  'lower file with changed attributes': { layers: { lowers: [[x]] }, prepare: fs => void fs.chmod('x', 0o600) },
  'removed lower file': { layers: { lowers: [[x]] }, prepare: fs => void fs.unlink('x') },
  whiteout: { layers: { lowers: [[x]], upper: [whiteout('x')] } },
  'whiteout in a lower': { layers: { lowers: [[x], [whiteout('x')]] } },
  'file made over a whiteout': {
    layers: { lowers: [[x]], upper: [whiteout('x')] },
    prepare: fs => void fs.mknod('x', S.IFREG | 0o644, 0),
  },
  'renamed lower file': { layers: { lowers: [[file('y', text)]] }, prepare: fs => void fs.rename('y', 'x') },
  'lower hard link': { layers: { lowers: [[x, hardlink('twin', 'x')]] } },
  'changed lower hard link': {
    layers: { lowers: [[x, hardlink('twin', 'x')]] },
    prepare: fs => void fs.chmod('twin', 0o604),
  },
  'upper hard link': { layers: { lowers: [[]], upper: [x, hardlink('twin', 'x')] } },
  'lower symlink': { layers: { lowers: [[symlink('x', 'file')]] } },
  'upper dangling symlink': { layers: { lowers: [[]], upper: [symlink('x', 'nowhere')] } },
  'lower fifo': { layers: { lowers: [[fifo('x')]] } },
  'lower directory': { layers: { lowers: [inside] } },
  'merged directory': { layers: { lowers: [inside], upper: [dir('x'), file('x/up', 'up')] } },
  'thrice merged directory': {
    layers: { lowers: [inside, [dir('x'), file('x/mid')]], upper: [dir('x'), file('x/up')] },
  },
  'opaque directory': { layers: { lowers: [inside], upper: [dir('x'), opaque('x'), file('x/up')] } },
  'upper directory': { layers: { lowers: [[]], upper: inside } },
  'upper directory over a lower file': { layers: { lowers: [[x]], upper: [dir('x'), file('x/up')] } },
  'empty lower directory': { layers: { lowers: [[dir('x')]] } },
  'directory of whiteouts': { layers: { lowers: [[dir('x'), file('x/in')]], upper: [dir('x'), whiteout('x/in')] } },
  'directory made over a whiteout': {
    layers: { lowers: [inside], upper: [whiteout('x')] },
    prepare: fs => void fs.mkdir('x', 0o755),
  },
  'renamed lower directory': {
    layers: { lowers: [[dir('y'), file('y/in', 'in')]] },
    prepare: fs => void fs.rename('y', 'x'),
  },
}

export type Handle = 'no handle' | 'a reader' | 'a writer' | 'a reader older than the change'
export const handles: readonly Handle[] = ['no handle', 'a reader', 'a writer', 'a reader older than the change']

const value = Buffer.from('v')
const onFile =
  (flags: number, run: (fs: Vfs, fd: number) => number) =>
  (fs: Vfs): number => {
    const st = new Stat()
    const r = fs.stat('x', st)
    // Opening a FIFO waits for its other end.
    if (r < 0 && (flags & O.CREAT) === 0) return r
    if (r === 0 && (st.mode & S.IFMT) === S.IFIFO) return 0
    const fd = fs.open('x', flags, 0o604)
    if (fd < 0) return fd
    const result = run(fs, fd)
    fs.close(fd)
    return result
  }

const operations: Readonly<Record<string, (fs: Vfs) => number>> = {
  create: onFile(O.CREAT | O.WRONLY, () => 0),
  'create exclusively': onFile(O.CREAT | O.EXCL | O.WRONLY, () => 0),
  write: onFile(O.WRONLY, (fs, fd) => fs.pwrite(fd, value, 3)),
  append: onFile(O.WRONLY | O.APPEND, (fs, fd) => fs.write(fd, value)),
  'open with O_TRUNC': onFile(O.WRONLY | O.TRUNC, () => 0),
  truncate: fs => fs.truncate('x', 100),
  extend: fs => fs.truncate('x', 20_000),
  punch: onFile(O.WRONLY, (fs, fd) => fs.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 0, 4096)),
  chmod: fs => fs.chmod('x', 0o751),
  chown: fs => fs.chown('x', 21, 22),
  utimens: fs => fs.utimens('x', 1, 2, 3, 4),
  setxattr: fs => fs.setxattr('x', 'trusted.b', value),
  removexattr: fs => fs.removexattr('x', 'user.a'),
  unlink: fs => fs.unlink('x'),
  rmdir: fs => fs.rmdir('x'),
  mkdir: fs => fs.mkdir('x', 0o711),
  symlink: fs => fs.symlink('file', 'x'),
  mknod: fs => fs.mknod('x', S.IFSOCK | 0o600, 0),
  link: fs => fs.link('x', 'linked'),
  'link over it': fs => fs.link('file', 'x'),
  'rename away': fs => fs.rename('x', 'z'),
  'rename over a file': fs => fs.rename('x', 'file'),
  'rename over an empty directory': fs => fs.rename('x', 'dir'),
  'rename over a full directory': fs => fs.rename('x', 'full'),
  'rename into a directory': fs => fs.rename('x', 'full/x'),
  'rename a file over it': fs => fs.rename('file', 'x'),
  'rename a directory over it': fs => fs.rename('full', 'x'),
  'rename without replacing': fs => fs.rename('file', 'x', RENAME.NOREPLACE),
  'exchange with a file': fs => fs.rename('x', 'file', RENAME.EXCHANGE),
  'exchange with a directory': fs => fs.rename('full', 'x', RENAME.EXCHANGE),
  'create below': fs => fs.mknod('x/made', S.IFREG | 0o600, 0),
  'unlink below': fs => fs.unlink('x/in'),
  'rename below': fs => fs.rename('x/in', 'x/moved'),
  'rename out of it': fs => fs.rename('x/in', 'out'),
  'rename a directory out of it': fs => fs.rename('x/sub', 'out'),
}

const beside: readonly Item[] = [file('file', 'a file'), dir('dir'), dir('full'), file('full/f', 'full')]

/** Runs all combinations on one tree of each target. */
export function matrix(t: Test, target: Target, oracle: Target, held: readonly Handle[] = handles): void {
  const combinations = Object.entries(kinds).flatMap(([kind, what]) =>
    Object.entries(operations).flatMap(([operation, act]) =>
      held.map(handle => ({ title: `${operation} on ${kind}, ${handle}`, what, act, handle })),
    ),
  )
  const layers = compose(combinations.map(c => c.what.layers))
  const [tree, model] = [target.make(layers), oracle.make(layers)]
  const how = { directoryLinks: true }
  combinations.forEach(({ title, what, act, handle }, i) => {
    const [found, wanted] = [tree, model].map(side => play(scope(side.fs, `m${i}`), what, act, handle)) as [
      string,
      string,
    ]
    if (found !== wanted) t.equal(found, wanted, `${title}: result`)
    const [is, was] = [tree, model].map(side => snapshot(scope(side.fs, `m${i}`), '', how)) as [string[], string[]]
    if (is.join('\n') !== was.join('\n')) t.same(is, was, `${title}: tree`)
  })
  tree.remount()
  combinations.forEach(({ title }, i) => {
    const [is, was] = [tree, model].map(side => snapshot(scope(side.fs, `m${i}`), '', how)) as [string[], string[]]
    if (is.join('\n') !== was.join('\n')) t.same(is, was, `${title}: tree after a remount`)
  })
  t.ok(combinations.length > 1000 * held.length, `${combinations.length} combinations compared`)
  t.same(tree.close(), [], 'lowers unchanged, nothing left in work, every lookup given back')
  model.close()
}

function play(fs: Vfs, what: Kind, act: (fs: Vfs) => number, handle: Handle): string {
  const early = handle === 'a reader older than the change' ? openReader(fs) : -1
  what.prepare?.(fs)
  const held = handle === 'a reader' ? openReader(fs) : handle === 'a writer' ? openWriter(fs) : early
  const words = [outcome(act(fs))]
  const st = new Stat()
  if (held >= 0) {
    const r = fs.fstat(held, st)
    const kind = st.mode & S.IFMT
    words.push(`${outcome(r)} ${st.mode.toString(8)} ${st.uid}:${st.gid}`)
    if (kind === S.IFREG) words.push(`n${st.nlink}`)
    if (handle === 'a writer')
      words.push(`${st.size}b`, outcome(fs.pwrite(held, Buffer.from('W'), 1)), outcome(fs.fchmod(held, 0o705)))
    fs.close(held)
  }
  return words.join(' ')
}

function openReader(fs: Vfs): number {
  const st = new Stat()
  if (fs.stat('x', st) < 0 || ((st.mode & S.IFMT) !== S.IFREG && (st.mode & S.IFMT) !== S.IFDIR)) return -1
  return fs.open('x', O.RDONLY)
}

function openWriter(fs: Vfs): number {
  const st = new Stat()
  if (fs.stat('x', st) < 0 || (st.mode & S.IFMT) !== S.IFREG) return -1
  return fs.open('x', O.RDWR)
}

function compose(all: readonly Layers[]): Layers {
  const depth = Math.max(...all.map(l => l.lowers.length))
  const below = (i: number, item: Item): Item =>
    item.type === 'link'
      ? { ...item, path: `m${i}/${item.path}`, target: `m${i}/${item.target}` }
      : { ...item, path: `m${i}/${item.path}` }
  return {
    lowers: Array.from({ length: depth }, (_, k) =>
      all.flatMap((l, i) => [
        ...(k === 0 ? [dir(`m${i}`), ...beside.map(item => below(i, item))] : []),
        ...(l.lowers[k] ?? []).map(item => below(i, item)),
      ]),
    ),
    upper: all.flatMap((l, i) => (l.upper ?? []).map(item => below(i, item))),
  }
}
