/** Owns files that are replaced as a whole (temporary name, rename) and locks on files (flock, gone with the process). */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { bytesOf } from '../bytes.js'
import { E, FsError } from '../errno.js'
import { LOCK, O } from '../sys/constants.js'
import { close, flock, open } from '../sys/file.js'
import { RuntimeError } from './error.js'

let serial = 0

/** Replaces a JSON file: readers see the old one or the new one, never a part. */
export function writeJson(path: string, value: unknown, mode = 0o600): void {
  const temporary = `${path}.${process.pid}.${serial++}.tmp`
  try {
    writeFileSync(temporary, `${JSON.stringify(value, null, 1)}\n`, { mode })
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

/** A JSON file's value, or undefined when there is no such file. */
export function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

/** Runs `work` while holding the lock file. Waits up to 30 s for another process to let go of it (TIMEOUT). */
export function locked<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  mkdirSync(dirname(path), { recursive: true })
  return holding(path, O.RDWR | O.CREAT, work)
}

/** The same by a directory that is there itself: no file is left of it. Throws FsError ENOENT when it is gone. */
export function lockedDirectory<T>(path: string, work: () => T | Promise<T>): Promise<T> {
  return holding(path, O.RDONLY | O.DIRECTORY, work)
}

async function holding<T>(path: string, flags: number, work: () => T | Promise<T>): Promise<T> {
  const fd = open(bytesOf(path), flags | O.CLOEXEC, 0o600)
  if (fd < 0) throw new FsError(fd, 'open', path)
  try {
    for (let tries = 0; ; tries++) {
      const r = flock(fd, LOCK.EX | LOCK.NB)
      if (r === 0) break
      if (r !== -E.EWOULDBLOCK && r !== -E.EINTR) throw new FsError(r, 'flock', path)
      if (tries > 3000) throw new RuntimeError('TIMEOUT', `lock ${path}: held by another command for 30 s`)
      await sleep(tries < 50 ? 2 : 10)
    }
    return await work()
  } finally {
    close(fd)
  }
}
