/**
 * Owns serving a mount by the fuse-native transport, from the event loop of this process's main thread, until the mount
 * table no longer has it. libfuse does not tell when its loop has ended, so the table is watched: poll(2) reports
 * POLLERR|POLLPRI on /proc/self/mountinfo after each change (proc_pid_mountinfo(5)).
 * The binding's handle would keep the event loop alive, and its threads the process: whoever called ends it by
 * `process.exit` (server-process.ts, or the command in the foreground).
 * Invariant: nothing here touches the mount once it is made.
 */
import { FsError } from '../errno.js'
import { mountNative, NativeUnavailable } from '../fuse/fuse-native.js'
import { O, POLL } from '../sys/constants.js'
import { pollAsync } from '../sys/event.js'
import { close, open } from '../sys/file.js'
import { MountError } from './failure.js'
import { ownMounts } from './mount-table.js'
import { isWritable } from './spec.js'
import type { ServeRequest } from './serve.js'
import type { Stack } from './stack.js'

/** Mounts; then `ready`; resolves when the mount is gone. Throws MountError. */
export async function serveNative(
  { spec, mountpoint }: Pick<ServeRequest, 'spec' | 'mountpoint'>,
  { filesystem }: Stack,
  ready: () => void,
  log: (message: string) => void,
): Promise<void> {
  if (spec.allowOther === true) {
    filesystem.destroy()
    const why = 'transport fuse-native serves one user, for it is not told who asks (the direct transport is)'
    throw new MountError('UNSUPPORTED', `mount ${mountpoint}: ${why}`, mountpoint)
  }
  const source = spec.source ?? 'lamina'
  try {
    await mountNative({ filesystem, mountpoint, source, readOnly: !isWritable(spec), log })
  } catch (error) {
    filesystem.destroy()
    if (error instanceof NativeUnavailable)
      throw new MountError('NO_FUSE_NATIVE', `mount ${mountpoint}: ${error.message}`)
    const reason = error instanceof Error ? error.message : String(error)
    throw new MountError('SERVER_FAILED', `mount ${mountpoint}: libfuse: ${reason}`, mountpoint)
  }
  ready()
  await gone(mountpoint)
  filesystem.destroy()
}

/** How long the thread that waits may keep the process from ending. */
const LOOK_MS = 1000

/** Resolves when no mount of ours is at `mountpoint` any more. */
async function gone(mountpoint: string): Promise<void> {
  const table = open('/proc/self/mountinfo', O.RDONLY)
  if (table < 0) throw new FsError(table, 'open', '/proc/self/mountinfo')
  while (ownMounts().some(mount => mount.mountpoint === mountpoint)) await pollAsync(table, POLL.PRI, LOOK_MS)
  close(table)
}
