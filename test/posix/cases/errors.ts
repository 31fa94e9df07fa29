/** Owns the error tables: which errno which call gives for which kind of name, as ext4 gives it. */
import { O, RENAME, XATTR } from '../../../lib/sys/constants.js'
import { Stat } from '../../../lib/sys/stat.js'
import { fails, type Case, type Context } from '../case.js'
import { dir, fifo, file, symlink } from '../population.js'
import { snapshot } from '../snapshot.js'

type Row = readonly [call: string, run: (c: Context) => unknown, errno: string]

const tree = [
  file('file', 'data'),
  dir('dir'),
  file('dir/child'),
  dir('empty'),
  symlink('link', 'file'),
  symlink('dangling', 'nowhere'),
  symlink('loop', 'loop'),
  fifo('fifo'),
]
const value = Buffer.from('v')

const missing: readonly Row[] = [
  ['stat', ({ fs }) => fs.stat('no', new Stat()), 'ENOENT'],
  ['stat below missing', ({ fs }) => fs.stat('no/x', new Stat()), 'ENOENT'],
  ['open', ({ fs }) => fs.open('no', O.RDONLY), 'ENOENT'],
  ['create below missing', ({ fs }) => fs.open('no/x', O.CREAT | O.WRONLY, 0o644), 'ENOENT'],
  ['mkdir below missing', ({ fs }) => fs.mkdir('no/x', 0o755), 'ENOENT'],
  ['mknod below missing', ({ fs }) => fs.mknod('no/x', 0o010644, 0), 'ENOENT'],
  ['symlink below missing', ({ fs }) => fs.symlink('t', 'no/x'), 'ENOENT'],
  ['symlink to nothing', ({ fs }) => fs.symlink('', 'x'), 'ENOENT'],
  ['link from missing', ({ fs }) => fs.link('no', 'x'), 'ENOENT'],
  ['link below missing', ({ fs }) => fs.link('file', 'no/x'), 'ENOENT'],
  ['unlink', ({ fs }) => fs.unlink('no'), 'ENOENT'],
  ['rmdir', ({ fs }) => fs.rmdir('no'), 'ENOENT'],
  ['rename', ({ fs }) => fs.rename('no', 'x'), 'ENOENT'],
  ['rename to below missing', ({ fs }) => fs.rename('file', 'no/x'), 'ENOENT'],
  ['exchange with missing', ({ fs }) => fs.rename('file', 'no', RENAME.EXCHANGE), 'ENOENT'],
  ['readlink', ({ fs }) => fs.readlink('no'), 'ENOENT'],
  ['chmod', ({ fs }) => fs.chmod('no', 0o600), 'ENOENT'],
  ['chmod of a dangling symlink', ({ fs }) => fs.chmod('dangling', 0o600), 'ENOENT'],
  ['chown', ({ fs }) => fs.chown('no', 1, 1), 'ENOENT'],
  ['utimens', ({ fs }) => fs.utimens('no', 1, 0, 1, 0), 'ENOENT'],
  ['truncate', ({ fs }) => fs.truncate('no', 0), 'ENOENT'],
  ['open of a dangling symlink', ({ fs }) => fs.open('dangling', O.RDONLY), 'ENOENT'],
  ['getxattr', ({ fs }) => fs.getxattr('no', 'user.a'), 'ENOENT'],
  ['setxattr', ({ fs }) => fs.setxattr('no', 'user.a', value), 'ENOENT'],
]

const notDirectory: readonly Row[] = [
  ['stat', ({ fs }) => fs.stat('file/x', new Stat()), 'ENOTDIR'],
  ['open', ({ fs }) => fs.open('file/x', O.RDONLY), 'ENOTDIR'],
  ['create', ({ fs }) => fs.open('file/x', O.CREAT | O.WRONLY, 0o644), 'ENOTDIR'],
  ['mkdir', ({ fs }) => fs.mkdir('file/x', 0o755), 'ENOTDIR'],
  ['mknod', ({ fs }) => fs.mknod('file/x', 0o010644, 0), 'ENOTDIR'],
  ['symlink', ({ fs }) => fs.symlink('t', 'file/x'), 'ENOTDIR'],
  ['link', ({ fs }) => fs.link('file', 'file/x'), 'ENOTDIR'],
  ['unlink', ({ fs }) => fs.unlink('file/x'), 'ENOTDIR'],
  ['rmdir below', ({ fs }) => fs.rmdir('file/x'), 'ENOTDIR'],
  ['rmdir of a file', ({ fs }) => fs.rmdir('file'), 'ENOTDIR'],
  ['rmdir of a symlink', ({ fs }) => fs.rmdir('link'), 'ENOTDIR'],
  ['rmdir of a fifo', ({ fs }) => fs.rmdir('fifo'), 'ENOTDIR'],
  ['rename from', ({ fs }) => fs.rename('file/x', 'y'), 'ENOTDIR'],
  ['rename to', ({ fs }) => fs.rename('fifo', 'file/x'), 'ENOTDIR'],
  ['rename of a directory over a file', ({ fs }) => fs.rename('empty', 'file'), 'ENOTDIR'],
  ['rename of a directory over a symlink', ({ fs }) => fs.rename('empty', 'link'), 'ENOTDIR'],
  ['opendir', ({ fs }) => fs.opendir('file'), 'ENOTDIR'],
  ['tmpfile in a file', ({ fs }) => fs.open('file', O.TMPFILE | O.RDWR, 0o600), 'ENOTDIR'],
]

const isDirectory: readonly Row[] = [
  ['unlink', ({ fs }) => fs.unlink('dir'), 'EISDIR'],
  ['open for writing', ({ fs }) => fs.open('dir', O.WRONLY), 'EISDIR'],
  ['open for both', ({ fs }) => fs.open('dir', O.RDWR), 'EISDIR'],
  ['open with O_CREAT', ({ fs }) => fs.open('dir', O.CREAT | O.RDONLY, 0o644), 'EISDIR'],
  ['truncate', ({ fs }) => fs.truncate('dir', 0), 'EISDIR'],
  ['rename of a file over it', ({ fs }) => fs.rename('file', 'empty'), 'EISDIR'],
  ['link', ({ fs }) => fs.link('dir', 'x'), 'EPERM'],
]

const exists: readonly Row[] = ['file', 'dir', 'empty', 'link', 'dangling', 'loop', 'fifo'].flatMap(
  (name): readonly Row[] => [
    [`mkdir ${name}`, ({ fs }) => fs.mkdir(name, 0o755), 'EEXIST'],
    [`mknod ${name}`, ({ fs }) => fs.mknod(name, 0o010644, 0), 'EEXIST'],
    [`symlink ${name}`, ({ fs }) => fs.symlink('t', name), 'EEXIST'],
    [`link to ${name}`, ({ fs }) => fs.link('file', name), 'EEXIST'],
    [`create ${name} with O_EXCL`, ({ fs }) => fs.open(name, O.CREAT | O.EXCL | O.WRONLY, 0o644), 'EEXIST'],
    [`rename to ${name} with NOREPLACE`, ({ fs }) => fs.rename('dir/child', name, RENAME.NOREPLACE), 'EEXIST'],
  ],
)

const various: readonly Row[] = [
  ['rmdir of a full directory', ({ fs }) => fs.rmdir('dir'), 'ENOTEMPTY'],
  ['rename over a full directory', ({ fs }) => fs.rename('empty', 'dir'), 'ENOTEMPTY'],
  ['rename into itself', ({ fs }) => fs.rename('dir', 'dir/sub'), 'EINVAL'],
  ['rename over the own parent', ({ fs }) => fs.rename('dir/child', 'dir'), 'ENOTEMPTY'],
  ['exchange with the own child', ({ fs }) => fs.rename('dir', 'dir/child', RENAME.EXCHANGE), 'EINVAL'],
  ['NOREPLACE and EXCHANGE', ({ fs }) => fs.rename('file', 'dir', 3), 'EINVAL'],
  ['open of a loop', ({ fs }) => fs.open('loop', O.RDONLY), 'ELOOP'],
  ['walk through a loop', ({ fs }) => fs.stat('loop/x', new Stat()), 'ELOOP'],
  ['O_NOFOLLOW on a symlink', ({ fs }) => fs.open('link', O.RDONLY | O.NOFOLLOW), 'ELOOP'],
  ['readlink of a file', ({ fs }) => fs.readlink('file'), 'EINVAL'],
  ['readlink of a directory', ({ fs }) => fs.readlink('dir'), 'EINVAL'],
  ['truncate of a fifo', ({ fs }) => fs.truncate('fifo', 0), 'EINVAL'],
  ['truncate below zero', ({ fs }) => fs.truncate('file', -1), 'EINVAL'],
  ['getxattr of none', ({ fs }) => fs.getxattr('file', 'user.none'), 'ENODATA'],
  ['removexattr of none', ({ fs }) => fs.removexattr('file', 'user.none'), 'ENODATA'],
  ['replace of no xattr', ({ fs }) => fs.setxattr('file', 'user.none', value, XATTR.REPLACE), 'ENODATA'],
  ['user xattr on a symlink', ({ fs }) => fs.setxattr('link', 'user.a', value), 'EPERM'],
  ['user xattr on a fifo', ({ fs }) => fs.setxattr('fifo', 'user.a', value), 'EPERM'],
  ['xattr of no known class', ({ fs }) => fs.setxattr('file', 'nonsense.a', value), 'ENOTSUP'],
]

const tables: readonly (readonly [string, readonly Row[]])[] = [
  ['ENOENT', missing],
  ['ENOTDIR', notDirectory],
  ['EISDIR', isDirectory],
  ['EEXIST', exists],
  ['various errors', various],
]

export const errorCases: readonly Case[] = tables.map(([title, rows]) => ({
  title: `${title}: each call refuses, and changes nothing`,
  items: tree,
  run(t, context) {
    const before = snapshot(context.fs)
    for (const [call, run, errno] of rows) fails(t, run(context), errno, call)
    t.same(snapshot(context.fs), before, 'the tree is as it was')
  },
}))
