/**
 * Owns unmounting on behalf of a thread that serves: umount(2) writes back what the kernel has cached, which that very
 * thread has to take, so it must not be the one that waits. Started by serve.ts; ends with the call.
 */
import { writeSync } from 'node:fs'
import { workerData } from 'node:worker_threads'
import { bytesOf } from '../bytes.js'
import { errnoName } from '../errno.js'
import { unmount } from '../fuse/mount.js'

export interface UnmountOrder {
  readonly mountpoint: string
  readonly force: boolean
}

const { mountpoint, force } = workerData as UnmountOrder
const r = unmount(bytesOf(mountpoint), true, force)
if (r < 0) writeSync(2, `unmount ${mountpoint}: ${errnoName(r)}\n`)
