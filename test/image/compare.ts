/** Compares an image's index with an unpacked directory: everything a tar can say of a file. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { IndexedLayer } from '../../lib/layer/indexed.js'
import { bytesOf } from '../../lib/bytes.js'
import { O } from '../../lib/sys/constants.js'
import { close, open } from '../../lib/sys/file.js'
import { Stat, statat } from '../../lib/sys/stat.js'
import { getxattrat, listxattrat } from '../../lib/sys/xattr.js'

export interface Difference {
  readonly path: string
  readonly what: string
  readonly index: unknown
  readonly disk: unknown
}

/** Differences between the index's root and `directory`, and how many entries were compared. `ignore` names paths. */
export function compareWithDirectory(
  layer: IndexedLayer,
  directory: string,
  options: { times?: (path: string) => boolean; nlink?: boolean } = {},
): { differences: Difference[]; entries: number } {
  const differences: Difference[] = []
  const a = new Stat()
  const b = new Stat()
  let entries = 0
  const inodes = new Map<number, number>()

  const compare = (node: number, fd: number, name: string, path: string, real: Buffer): void => {
    entries++
    layer.stat(node, a)
    const r = statat(fd, name, b)
    const say = (what: string, index: unknown, disk: unknown): void => {
      if (index !== disk) differences.push({ path, what, index, disk })
    }
    if (r < 0) return say('exists', true, r)
    say('mode', a.mode.toString(8), b.mode.toString(8))
    say('uid', a.uid, b.uid)
    say('gid', a.gid, b.gid)
    if (options.times?.(path) !== false) {
      say('mtime', a.mtime, b.mtime)
      say('mtimeNs', a.mtimeNs, b.mtimeNs)
    }
    const type = a.mode & 0o170000
    if (type !== 0o040000) {
      say('nlink', a.nlink, b.nlink)
      // The same names must be the same file.
      const before = inodes.get(node)
      if (before === undefined) inodes.set(node, b.ino)
      else say('hard link', before, b.ino)
    }
    if (type === 0o020000 || type === 0o060000) say('rdev', a.rdev, b.rdev)
    if (type === 0o120000) say('target', layer.readlink(node), readlinkSync(real, 'latin1'))
    const names = (layer.listxattr(node) as string[]).sort()
    const theirs = listxattrat(fd, name)
    if (Array.isArray(theirs)) {
      const disk = theirs.filter(x => x !== 'security.selinux' && x !== 'user.rootlesscontainers').sort()
      say('xattrs', names.join(), disk.join())
      for (const x of disk) {
        const mine = layer.getxattr(node, x)
        const value = getxattrat(fd, name, x)
        say(
          `xattr ${x}`,
          Buffer.isBuffer(mine) && mine.toString('hex'),
          Buffer.isBuffer(value) && value.toString('hex'),
        )
      }
    }
    if (type === 0o100000) {
      say('size', a.size, b.size)
      say('content', layer.object(node), createHash('sha256').update(readFileSync(real)).digest('hex'))
    }
    if (type !== 0o040000) return
    const mine: string[] = []
    layer.list(node, child => mine.push(child))
    const disk = readdirSync(real, 'latin1').sort()
    say('names', mine.join('\0'), disk.join('\0'))
    const below = open(real.latin1Slice(), O.PATH | O.DIRECTORY | O.NOFOLLOW)
    for (const child of mine) {
      const found = layer.lookup(node, child, a)
      if (!disk.includes(child)) continue
      compare(found, below, child, `${path}/${child}`, Buffer.concat([real, Buffer.from(`/${child}`, 'latin1')]))
    }
    close(below)
  }
  const fd = open(bytesOf(directory), O.PATH | O.DIRECTORY)
  compare(layer.root, fd, '.', '', Buffer.from(directory))
  close(fd)
  return { differences, entries }
}
