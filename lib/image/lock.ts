/**
 * Owns locks between commands: flock(2) on files and directories of the store. The kernel drops them with the process,
 * so nothing is ever left locked.
 * Invariant: waiting never blocks the event loop.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { bytesOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { LOCK, O } from '../sys/constants.js'
import { close, flock, open } from '../sys/file.js'
import { ImageError } from './error.js'

export interface Lock {
  release(): void
}

const WAIT_LIMIT = 30 * 60 * 1000

/** Waits for the lock, looking again every few milliseconds. Throws ImageError STORE_LOCKED after half an hour. */
export async function acquire(path: string, mode: 'shared' | 'exclusive'): Promise<Lock> {
  const start = Date.now()
  for (let pause = 2; ; pause = Math.min(pause * 2, 100)) {
    const lock = tryLock(path, mode, O.CREAT)
    if (lock !== undefined) return lock
    if (Date.now() - start > WAIT_LIMIT) throw new ImageError('STORE_LOCKED', `lock ${path}: another command holds it`)
    await sleep(pause)
  }
}

/** Takes the lock when it is free; undefined when it is not, or `path` is gone. Throws FsError for other failures. */
export function tryLock(path: string, mode: 'shared' | 'exclusive', flags = 0): Lock | undefined {
  const fd = open(bytesOf(path), O.RDONLY | flags, 0o600)
  if (fd === -E.ENOENT || fd === -E.ENOTDIR) return undefined
  if (fd < 0) throw new FsError(fd, 'open', path)
  const r = flock(fd, (mode === 'shared' ? LOCK.SH : LOCK.EX) | LOCK.NB)
  if (r < 0) {
    close(fd)
    if (r === -E.EAGAIN) return undefined
    throw new FsError(r, 'flock', path)
  }
  let held = true
  return {
    release() {
      if (held) close(fd)
      held = false
    },
  }
}
