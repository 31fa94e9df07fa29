/**
 * Owns ending a mount by its path: unmounts, waits until its server has closed everything (the upper is free then), and
 * cleans up after a server that was killed. Works for mounts that are not on the list too.
 */
import { bytesOf } from '../bytes.js'
import { E, errnoName } from '../errno.js'
import { unmount } from '../fuse/mount.js'
import { MountError } from './failure.js'
import { ownMounts } from './mount-table.js'
import { deregister, isAlive, records, type MountRecord } from './registry.js'

export interface UnmountOptions {
  /** Although in use: what is open is served on until it is closed, and the server ends then. */
  readonly lazy?: boolean
}

const SERVER_END_MS = 60_000

/**
 * Unmounts what is mounted at the absolute `path`, or the mount with that id. A mount whose server is dead is removed
 * whatever is open in it (it can serve nothing any more). Throws MountError: NOT_MOUNTED, IN_USE, NOT_PERMITTED.
 */
export async function unmountPath(runRoot: string, path: string, options: UnmountOptions = {}): Promise<void> {
  const listed = records(runRoot)
  const named = listed.find(record => record.id === path)
  const mountpoint = named?.mountpoint ?? path
  const record = named ?? listed.findLast(entry => entry.mountpoint === mountpoint)
  const mounted = ownMounts().some(mount => mount.mountpoint === mountpoint)
  if (!mounted) {
    if (record === undefined || isAlive(record))
      throw new MountError('NOT_MOUNTED', `unmount ${path}: lamina is not mounted there`, path)
    deregister(runRoot, record.id)
    return
  }
  const dead = record !== undefined && !isAlive(record)
  const lazy = options.lazy === true || dead
  const r = unmount(bytesOf(mountpoint), lazy, dead)
  if (r < 0) throw failure(mountpoint, r)
  if (record === undefined) return
  if (dead) deregister(runRoot, record.id)
  else if (!lazy) await serverEnd(record)
}

function failure(path: string, r: number): MountError {
  if (r === -E.EBUSY) return new MountError('IN_USE', `unmount ${path}: it is in use`, path)
  if (r === -E.EPERM || r === -E.EACCES) return new MountError('NOT_PERMITTED', `unmount ${path}: not permitted`, path)
  return new MountError('SERVER_FAILED', `unmount ${path}: ${errnoName(r)}`, path)
}

/** Waits until the server's process is gone. */
async function serverEnd(record: MountRecord): Promise<void> {
  for (const end = Date.now() + SERVER_END_MS; Date.now() < end;) {
    if (!isAlive(record)) return
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  throw new MountError(
    'SERVER_FAILED',
    `unmount ${record.mountpoint}: unmounted, but its server (pid ${record.pid}) still runs`,
    record.mountpoint,
  )
}
