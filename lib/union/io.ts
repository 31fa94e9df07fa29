/**
 * Owns reading, writing and the other calls on open files, for what the kernel does not do by itself in passthrough mode.
 * A handle opened on the lower before the file was copied up goes over to the upper with its next call: all see one file.
 */
import { now } from '../clock.js'
import { E } from '../errno.js'
import { FALLOC, O, SEEK } from '../sys/constants.js'
import { close, dup, lseek as seek, openat, preadAt } from '../sys/file.js'
import { killPriv } from './attributes.js'
import { type Io, OpenMode } from './filesystem.js'
import type { Handle } from './handles.js'
import { mutate } from './mutate.js'
import { extraOf, type Node, Presence, type Syncing } from './node.js'
import { readPartial, settled, writePartial } from './partial.js'
import { refuseWriting } from './protect.js'
import type { Tree } from './tree.js'
import { directoryFd, openUpper } from './upper.js'

/** The fd a handle's I/O goes to now, or `-errno`. */
function current(tree: Tree, handle: Handle): number {
  if (!handle.lower || handle.node.upper !== Presence.Full || handle.mode === OpenMode.Passthrough) return handle.fd
  const fd = openUpper(tree, handle.node, O.RDONLY)
  if (fd < 0) return fd
  close(handle.fd)
  handle.fd = fd
  handle.lower = false
  return fd
}

export function read(tree: Tree, id: number, size: number, position: number, into: Io, at: number): number {
  const handle = tree.handles.get(id)
  if (handle === undefined) return -E.EBADF
  const partial = handle.node.extra?.partial ?? null
  if (partial !== null) return readPartial(partial, size, position, into, at)
  const fd = current(tree, handle)
  if (fd < 0) return fd
  for (let done = 0; ;) {
    const n = preadAt(fd, into.address + at + done, size - done, position + done)
    if (n === -E.EINTR) continue
    // Not what was read before: fewer bytes than asked for are the end of the file.
    if (n < 0) return n
    done += n
    if (n === 0 || done === size) return done
  }
}

/** The fd that has all of an open file's data, or `-errno`: EOPNOTSUPP while the data is in two files. */
export function source(tree: Tree, id: number): number {
  const handle = tree.handles.get(id)
  if (handle === undefined) return -E.EBADF
  return (handle.node.extra?.partial ?? null) === null ? current(tree, handle) : -E.EOPNOTSUPP
}

export function write(
  tree: Tree,
  id: number,
  size: number,
  position: number,
  from: Io,
  at: number,
  kill: boolean,
): number {
  const handle = tree.handles.get(id)
  if (handle === undefined) return -E.EBADF
  if (handle.lower) return -E.EBADF
  if (kill) {
    const r = killPriv(tree, handle.node)
    if (r < 0) return r
  }
  const partial = handle.node.extra?.partial ?? null
  if (partial !== null) return writePartial(tree, partial, size, position, from, at)
  for (let done = 0; ;) {
    const n = mutate.pwriteAt(handle.fd, from.address + at + done, size - done, position + done)
    if (n === -E.EINTR) continue
    if (n < 0) return done > 0 ? done : n
    done += n
    if (n === 0 || done === size) return done
  }
}

/** fsync of an open file, on another thread. A volatile mount answers ENOSYS, which the kernel takes for "never needed". */
export function fsync(tree: Tree, id: number, dataOnly: boolean): number {
  if (tree.volatile) return -E.ENOSYS
  const handle = tree.handles.get(id)
  if (handle === undefined) return -E.EBADF
  // What is in a lower is on disk, or nobody's business.
  if (handle.lower) return 0
  const whole = settled(tree, handle.node)
  if (whole < 0) return whole
  return syncing(tree, handle.node, handle.fd, dataOnly)
}

export function fsyncdir(tree: Tree, node: Node, dataOnly: boolean): number {
  if (tree.volatile) return -E.ENOSYS
  if (node.upper === Presence.None || node.dir === null) return 0
  const fd = directoryFd(tree, node)
  if (fd < 0) return fd
  const open = openat(fd, '.', O.RDONLY | O.DIRECTORY)
  if (open < 0) return open
  const r = syncing(tree, node, open, dataOnly)
  close(open)
  return r
}

/** Milliseconds within which a host has repeated the calls that waited for a job. */
const REPEATED_WITHIN = 200

/**
 * A call made before a sync began is content with it; one made while it runs needs another. Repeated calls come in the
 * order of the first ones (Host) and at once, so the first `waiters` repetitions take the result. A caller that was killed
 * meanwhile never repeats: what it leaves is not for a later call, which has written since.
 */
function syncing(tree: Tree, node: Node, fd: number, dataOnly: boolean): number {
  const extra = extraOf(node)
  const { sync } = extra
  if (sync !== null && sync.result === 1) return tree.host.defer(sync.job)
  if (sync !== null && sync.waiters > 0 && now() - sync.ended < REPEATED_WITHIN) {
    if (--sync.waiters === 0) extra.sync = null
    return sync.result
  }
  const own = dup(fd)
  if (own < 0) return own
  const fresh: Syncing = {
    job: {
      spec: { op: 'fsync', fd: own, dataOnly },
      done: (result: number): void => {
        fresh.result = result
        fresh.ended = now()
        close(own)
      },
    },
    waiters: 1,
    result: 1,
    ended: 0,
  }
  extra.sync = fresh
  return tree.host.defer(fresh.job)
}

export function fallocate(tree: Tree, id: number, mode: number, offset: number, length: number): number {
  const handle = tree.handles.get(id)
  if (handle === undefined || handle.lower) return -E.EBADF
  const refused = refuseWriting(handle.node, (mode & ~FALLOC.KEEP_SIZE) === 0, false)
  if (refused < 0) return refused
  const whole = settled(tree, handle.node)
  if (whole < 0) return whole
  return mutate.fallocate(handle.fd, mode, offset, length)
}

export function lseek(tree: Tree, id: number, offset: number, whence: number): number {
  const handle = tree.handles.get(id)
  if (handle === undefined) return -E.EBADF
  if (whence !== SEEK.DATA && whence !== SEEK.HOLE) return -E.EINVAL
  // The kernel holds written data back and asks nevertheless: what we called a hole would be data, and cp would lose it.
  // ENOSYS once makes it take every file for data from end to end.
  if (tree.host.writeback) return -E.ENOSYS
  const whole = settled(tree, handle.node)
  const fd = whole < 0 ? whole : current(tree, handle)
  return fd < 0 ? fd : seek(fd, offset, whence)
}

export function copyFileRange(
  tree: Tree,
  id: number,
  offset: number,
  toId: number,
  toOffset: number,
  length: number,
): number {
  const from = tree.handles.get(id)
  const to = tree.handles.get(toId)
  if (from === undefined || to === undefined || to.lower) return -E.EBADF
  let whole = settled(tree, from.node)
  if (whole >= 0) whole = settled(tree, to.node)
  const fd = whole < 0 ? whole : current(tree, from)
  return fd < 0 ? fd : mutate.copyFileRange(fd, offset, to.fd, toOffset, length)
}
