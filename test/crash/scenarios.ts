/**
 * Owns the changes that must be all or nothing: each is one call on a small tree, of every kind that the union does in
 * several steps.
 */
import { O, RENAME, S, FALLOC } from '../../lib/sys/constants.js'
import { dir, file, hardlink, opaque, symlink, whiteout, type Item } from '../posix/population.js'
import type { Layers } from '../posix/target.js'
import type { Vfs } from '../posix/vfs.js'

export interface Scenario {
  readonly title: string
  readonly layers: Layers
  /** Calls before the one that matters. */
  readonly prepare?: (fs: Vfs) => void
  /** One call. `>= 0`, or `-errno`. */
  readonly act: (fs: Vfs) => number
}

const tree: readonly Item[] = [
  dir('d', { mode: 0o750, uid: 3 }),
  file('d/f', 'text of f'.repeat(2000), { mode: 0o640, uid: 4, xattrs: { 'user.a': 'x' } }),
  file('d/g', 'g'),
  dir('d/sub'),
  file('d/sub/h', 'h'),
  symlink('d/s', 'f'),
  dir('e'),
  file('e/f', 'e'),
]
const low: Layers = { lowers: [tree] }
const up: Layers = { lowers: [[]], upper: tree }
const merged: Layers = { lowers: [tree], upper: [dir('d'), file('d/new', 'n'), whiteout('d/g'), dir('e'), opaque('e')] }
const links: Layers = { lowers: [[file('a', 'linked'), hardlink('b', 'a'), dir('d'), hardlink('d/c', 'a')]] }
const places = { lower: low, upper: up, merged }

/** Opens, does, closes: the open is not counted when `prepare` could have done it, so acts open by themselves. */
function withFile(fs: Vfs, path: string, flags: number, run: (fd: number) => number): number {
  const fd = fs.open(path, flags, 0o644)
  if (fd < 0) return fd
  try {
    return run(fd)
  } finally {
    fs.close(fd)
  }
}

const text = Buffer.from('written')

export const scenarios: readonly Scenario[] = [
  ...Object.entries(places).flatMap(([where, layers]): Scenario[] => [
    { title: `create, ${where}`, layers, act: fs => withFile(fs, 'd/x', O.CREAT | O.WRONLY, () => 0) },
    { title: `mkdir, ${where}`, layers, act: fs => fs.mkdir('d/x', 0o700) },
    { title: `mknod, ${where}`, layers, act: fs => fs.mknod('d/x', S.IFIFO | 0o600, 0) },
    { title: `symlink, ${where}`, layers, act: fs => fs.symlink('target', 'd/x') },
    { title: `link, ${where}`, layers, act: fs => fs.link('d/f', 'e/x') },
    { title: `unlink, ${where}`, layers, act: fs => fs.unlink('d/f') },
    { title: `chmod, ${where}`, layers, act: fs => fs.chmod('d/f', 0o600) },
    { title: `chmod of a directory, ${where}`, layers, act: fs => fs.chmod('d', 0o700) },
    { title: `chown, ${where}`, layers, act: fs => fs.chown('d/f', 9, 9) },
    { title: `lchown of a symlink, ${where}`, layers, act: fs => fs.chown('d/s', 9, 9) },
    { title: `utimens, ${where}`, layers, act: fs => fs.utimens('d/f', 1, 2, 3, 4) },
    { title: `setxattr, ${where}`, layers, act: fs => fs.setxattr('d/f', 'user.b', text) },
    { title: `removexattr, ${where}`, layers, act: fs => fs.removexattr('d/f', 'user.a') },
    { title: `truncate to half, ${where}`, layers, act: fs => fs.truncate('d/f', 9000) },
    { title: `truncate to nothing, ${where}`, layers, act: fs => fs.truncate('d/f', 0) },
    { title: `open for writing, ${where}`, layers, act: fs => withFile(fs, 'd/f', O.RDWR, () => 0) },
    { title: `open with O_TRUNC, ${where}`, layers, act: fs => withFile(fs, 'd/f', O.WRONLY | O.TRUNC, () => 0) },
    { title: `write, ${where}`, layers, act: fs => withFile(fs, 'd/f', O.WRONLY, fd => fs.pwrite(fd, text, 5)) },
    {
      title: `fallocate, ${where}`,
      layers,
      act: fs =>
        withFile(fs, 'd/f', O.WRONLY, fd => fs.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 4096, 4096)),
    },
    { title: `rename of a file, ${where}`, layers, act: fs => fs.rename('d/f', 'e/x') },
    { title: `rename of a file over another, ${where}`, layers, act: fs => fs.rename('d/f', 'd/sub/h') },
    { title: `rename of a directory, ${where}`, layers, act: fs => fs.rename('d', 'e/x') },
    { title: `rename of a child directory, ${where}`, layers, act: fs => fs.rename('d/sub', 'x') },
    { title: `exchange of two files, ${where}`, layers, act: fs => fs.rename('d/f', 'd/sub/h', RENAME.EXCHANGE) },
    {
      title: `exchange of a file and a directory, ${where}`,
      layers,
      act: fs => fs.rename('d/sub', 'd/f', RENAME.EXCHANGE),
    },
    { title: `exchange of two directories, ${where}`, layers, act: fs => fs.rename('d', 'e', RENAME.EXCHANGE) },
    {
      title: `rename of a directory over an emptied one, ${where}`,
      layers,
      prepare: fs => void fs.unlink('d/sub/h'),
      act: fs => fs.rename('e', 'd/sub'),
    },
    {
      title: `rmdir of an emptied directory, ${where}`,
      layers,
      prepare: fs => void fs.unlink('d/sub/h'),
      act: fs => fs.rmdir('d/sub'),
    },
    {
      title: `mkdir where one was removed, ${where}`,
      layers,
      prepare: fs => {
        fs.unlink('d/sub/h')
        fs.rmdir('d/sub')
      },
      act: fs => fs.mkdir('d/sub', 0o700),
    },
    {
      title: `create where a file was removed, ${where}`,
      layers,
      prepare: fs => void fs.unlink('d/f'),
      act: fs => withFile(fs, 'd/f', O.CREAT | O.EXCL | O.WRONLY, () => 0),
    },
    {
      title: `rename to where a file was removed, ${where}`,
      layers,
      prepare: fs => void fs.unlink('d/f'),
      act: fs => fs.rename('d/s', 'd/f'),
    },
    {
      title: `write into a file whose mode was changed, ${where}`,
      layers,
      prepare: fs => void fs.chmod('d/f', 0o600),
      act: fs => withFile(fs, 'd/f', O.WRONLY, fd => fs.pwrite(fd, text, 5)),
    },
    {
      title: `rename of a renamed directory, ${where}`,
      layers,
      prepare: fs => void fs.rename('d', 'x'),
      act: fs => fs.rename('x', 'e/y'),
    },
    {
      title: `a name for an O_TMPFILE, ${where}`,
      layers,
      act: fs => withFile(fs, 'd', O.TMPFILE | O.RDWR, fd => fs.linkFd(fd, 'd/x')),
    },
  ]),
  { title: 'chmod of a hard link', layers: links, act: fs => fs.chmod('b', 0o600) },
  {
    title: 'write into a hard link',
    layers: links,
    act: fs => withFile(fs, 'b', O.WRONLY, fd => fs.pwrite(fd, text, 0)),
  },
  { title: 'unlink of a hard link', layers: links, act: fs => fs.unlink('b') },
  {
    title: 'unlink of a hard link that was changed',
    layers: links,
    prepare: fs => void fs.chmod('a', 0o600),
    act: fs => fs.unlink('b'),
  },
  { title: 'rename of a hard link', layers: links, act: fs => fs.rename('b', 'd/x') },
  { title: 'one more link', layers: links, act: fs => fs.link('b', 'd/x') },
]
