/**
 * Owns mounting an index by the kernel itself: it is an EROFS image whose files lead, by overlayfs's attributes, to objects
 * (lib/layer/erofs-format.ts), so as a lower of the kernel's overlayfs it needs no server. Linux 6.12 mounts it from its file.
 * Invariant: the kernel is given what was compared with its hashes; EROFS itself checks its first block only.
 */
import { readFileSync, watch } from 'node:fs'
import { bytesOf } from '../bytes.js'
import { verifyIndex } from '../layer/index-bytes.js'
import { close } from '../sys/file.js'
import { fsconfig, FSCONFIG, fsconfigString, fsmount, fsopen } from '../sys/mount.js'
import { MountError } from './failure.js'

/** How an attribute called `user.overlay.…` of a tree's own is kept: overlayfs with `trusted.` ones would show it as it is kept. */
const ESCAPED = 'overlay.overlay.'

/**
 * The detached mount (an fd) of the index at `path` (text); -1 where the kernel cannot, or would show the tree otherwise than
 * it is. Throws MountError LOWER_CORRUPT.
 */
export function mountIndex(path: string): number {
  const file = readFileSync(path)
  const problem = verifyIndex(file)
  if (problem !== undefined)
    throw new MountError('LOWER_CORRUPT', `mount lower ${path}: ${problem} (lamina fsck --repair)`, path)
  if (file.includes(ESCAPED)) return -1
  const context = fsopen('erofs')
  if (context < 0) return -1
  let r = fsconfigString(context, 'source', bytesOf(path))
  if (r >= 0) r = fsconfig(context, FSCONFIG.SET_FLAG, 'ro')
  if (r >= 0) r = fsconfig(context, FSCONFIG.CMD_CREATE, null)
  if (r >= 0) r = fsmount(context, 0)
  close(context)
  return r < 0 ? -1 : r
}

/**
 * Resolves when the filesystem whose root the fd `root` is has no user any more (inotify(7), IN_UNMOUNT). The fd may be closed.
 * Throws where the user has no more watches (fs.inotify.max_user_instances).
 */
export function filesystemGone(root: number): Promise<void> {
  const watcher = watch(`/proc/self/fd/${root}`)
  return new Promise((resolve, reject) => {
    watcher.on('error', reject)
    watcher.on('change', () => {
      watcher.close()
      resolve()
    })
  })
}
