/**
 * Owns reading a file of a container's tree from outside it: resolved inside the root as the container would, by the
 * kernel (openat2 with RESOLVE_IN_ROOT), never through a magic link, never waiting for a FIFO, never more than a limit.
 * The calls run on another thread: the tree may be served by this very process.
 */
import { close as fsClose, fstat, read } from 'node:fs'
import { promisify } from 'node:util'
import { O, RESOLVE } from '../sys/constants.js'
import { openat2InThread } from '../sys/file.js'

const LIMIT = 4 << 20

/** Opens `path` inside the tree at `root` (any fd of its directory); an fd to close, or undefined when it cannot be. */
export async function openInRoot(root: number, path: string, flags: number): Promise<number | undefined> {
  const resolve = RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS
  const fd = await openat2InThread(root, path, flags | O.NONBLOCK | O.NOCTTY, 0, resolve)
  return fd < 0 ? undefined : fd
}

/** The file's bytes; undefined when there is none, or when it is no regular file of at most 4 MiB. */
export async function readInRoot(root: number, path: string): Promise<Buffer | undefined> {
  const fd = await openInRoot(root, path, O.RDONLY)
  if (fd === undefined) return undefined
  try {
    const st = await promisify(fstat)(fd)
    if (!st.isFile() || st.size > LIMIT) return undefined
    const bytes = Buffer.alloc(Number(st.size))
    let at = 0
    while (at < bytes.length) {
      const { bytesRead } = await promisify(read)(fd, bytes, at, bytes.length - at, at)
      if (bytesRead === 0) break
      at += bytesRead
    }
    return bytes.subarray(0, at)
  } finally {
    fsClose(fd)
  }
}
