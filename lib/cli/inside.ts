/** Owns looking at one path inside an image or container for cat, ls, cp and find: errors name what the user typed. */
import { bytesOf } from '../bytes.js'
import { isDirectory, isRegular } from '../diff/change.js'
import { readFully } from '../diff/content.js'
import type { Entry, MergedTree } from '../diff/merged.js'
import { E, FsError } from '../errno.js'
import { close } from '../sys/file.js'

/** The entry at `path` (text), symlinks followed unless `follow` is false. Throws FsError ENOENT. */
export function findEntry(tree: MergedTree, path: string, typed: string, follow = true): Entry {
  const entry = tree.resolve(bytesOf(path), follow)
  if (entry === undefined) throw new FsError(E.ENOENT, 'open', typed)
  return entry
}

/** A regular file's data in pieces. Throws FsError EISDIR, EINVAL (a device). */
export function* fileChunks(tree: MergedTree, entry: Entry, typed: string): Generator<Buffer> {
  if (isDirectory(entry.attributes)) throw new FsError(E.EISDIR, 'read', typed)
  if (!isRegular(entry.attributes)) throw new FsError(E.EINVAL, 'read', typed)
  if (entry.attributes.size === 0) return
  const fd = tree.open(entry)
  try {
    for (let at = 0; ;) {
      const chunk = Buffer.allocUnsafeSlow(256 * 1024)
      const n = readFully(fd, chunk, at, typed)
      if (n > 0) yield chunk.subarray(0, n)
      if (n < chunk.length) return
      at += n
    }
  } finally {
    close(fd)
  }
}

/** Names of users and groups as the image's own /etc/passwd and /etc/group have them. */
export function namesIn(tree: MergedTree, file: '/etc/passwd' | '/etc/group'): Map<number, string> {
  const names = new Map<number, string>()
  const entry = tree.resolve(file, true)
  if (entry === undefined) return names
  try {
    if (!isRegular(entry.attributes) || entry.attributes.size > 1 << 22) return names
    const text = Buffer.concat([...fileChunks(tree, entry, file)]).toString('latin1')
    for (const line of text.split('\n')) {
      const [name, , id] = line.split(':')
      if (name !== undefined && name !== '' && id !== undefined && /^\d+$/.test(id) && !names.has(Number(id)))
        names.set(Number(id), name)
    }
    return names
  } finally {
    tree.release(entry)
  }
}
