/**
 * One of several processes that work in one directory, none knowing of the others: `churn.js DIRECTORY SEED COUNT`. Calls may
 * fail in every way that the others' work explains; what must hold is looked at by who started them.
 */
import { O, RENAME, S } from '../../lib/sys/constants.js'
import { Stat } from '../../lib/sys/stat.js'
import { DirectoryVfs } from '../posix/directory-vfs.js'
import { names } from '../posix/snapshot.js'
import { Random } from './random.js'

const [directory = '', seed = '0', count = '0'] = process.argv.slice(2)
const fs = new DirectoryVfs(directory)
const random = new Random(Number(seed))
const letters = 'abcdefgh'
const path = (): string =>
  Array.from({ length: 1 + random.below(4) }, () => letters[random.below(letters.length)]).join('/')
const data = Buffer.alloc(20_000, Number(seed))

function open(flags: number, use: (fd: number) => unknown): void {
  // A FIFO must not be waited for.
  const fd = fs.open(path(), flags | O.NONBLOCK | O.NOFOLLOW, 0o644)
  if (fd < 0) return
  use(fd)
  fs.close(fd)
}

const held: number[] = []
const operations: readonly (() => unknown)[] = [
  () => open(O.CREAT | O.RDWR, fd => fs.pwrite(fd, data.subarray(0, random.below(data.length)), random.below(50_000))),
  () => open(O.CREAT | O.EXCL | O.WRONLY, () => undefined),
  () => open(O.RDONLY, fd => fs.pread(fd, 4096, 0)),
  () => open(O.RDWR, fd => fs.ftruncate(fd, random.below(60_000))),
  () => open(O.RDWR, fd => fs.fsync(fd)),
  () => fs.mkdir(path(), 0o755),
  () => fs.mkdir(path(), 0o755),
  () => fs.mkdir(path(), 0o755),
  () => fs.mknod(path(), S.IFIFO | 0o644, 0),
  () => fs.symlink(path(), path()),
  () => fs.link(path(), path()),
  () => fs.link(path(), path()),
  () => fs.rename(path(), path()),
  () => fs.rename(path(), path()),
  () => fs.rename(path(), path(), RENAME.EXCHANGE),
  () => fs.rename(path(), path(), RENAME.NOREPLACE),
  () => fs.unlink(path()),
  () => fs.rmdir(path()),
  () => fs.chmod(path(), 0o600 + random.below(0o200)),
  () => fs.chown(path(), random.below(9), random.below(9)),
  () => fs.utimens(path(), 1, 2, 3, 4),
  () => fs.setxattr(path(), `user.${letters[random.below(8)]}`, data.subarray(0, random.below(200))),
  () => fs.setxattr(path(), 'trusted.t', data.subarray(0, 20)),
  () => fs.removexattr(path(), `user.${letters[random.below(8)]}`),
  () => fs.listxattr(path()),
  () => fs.stat(path(), new Stat()),
  () => fs.readlink(path()),
  () => names(fs, path()),
  () => {
    const fd = fs.open(path(), O.RDONLY | O.NONBLOCK)
    if (fd >= 0) held.push(fd)
    if (held.length > 8) fs.close(held.shift() as number)
  },
]
for (let i = 0; i < Number(count); i++) random.pick(operations)()
fs.detach()
