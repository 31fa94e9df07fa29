/** Owns copying to this machine: into a directory or under a new name, as docker cp decides it, or as a tar. */
import { statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { bytesOf } from '../bytes.js'
import { isDirectory } from '../diff/change.js'
import { extract, extractChildren, type ExtractOptions } from '../diff/extract.js'
import { subtreeTar } from '../diff/subtree-tar.js'
import { FsError } from '../errno.js'
import { writeTar } from '../layer/tar-write.js'
import { O } from '../sys/constants.js'
import { close, open } from '../sys/file.js'
import { type Output, UsageError } from './command.js'
import type { CopySource } from './copy-source.js'
import { printable } from './printable.js'
import { writeAll } from './stream.js'

/** Writes the source as a tar. Throws FsError, UsageError on a terminal. */
export async function copyToTar({ tree, entry, name, inside }: CopySource, stdout: Output): Promise<void> {
  if (stdout.isTTY === true) throw new UsageError('-: not to a terminal')
  await writeAll(stdout, writeTar(subtreeTar(tree, entry, inside || entry.path === '/' ? '' : name)))
}

/** Copies the source to the path `to` (text). Throws FsError, UsageError. */
export function copyOut({ tree, entry, name, inside }: CopySource, to: string, options: ExtractOptions): void {
  const into = statSync(to, { throwIfNoEntry: false })?.isDirectory() === true
  if (!into && to.endsWith('/') && !isDirectory(entry.attributes))
    throw new UsageError(`${printable(to)}: no such directory`)
  const directory = into ? to : dirname(resolve(to))
  const fd = open(bytesOf(resolve(directory)), O.RDONLY | O.DIRECTORY)
  if (fd < 0) throw new FsError(fd, 'open', directory)
  try {
    if (into && inside) extractChildren(tree, entry, fd, options)
    else extract(tree, entry, fd, into ? name : bytesOf(basename(resolve(to))), options)
  } finally {
    close(fd)
  }
}
