/**
 * Owns the mark of a volatile mount, `W/work/incompat/volatile`, by the kernel's rule (overlayfs.rst, "Volatile mount"): an upper
 * whose mark is still there may be torn. It is not when the machine has not gone down since: ours carries the boot's id.
 */
import { E, FsError } from '../errno.js'
import { AT, O } from '../sys/constants.js'
import { listdir } from '../sys/dir.js'
import { close, openat, pread } from '../sys/file.js'
import { mutate } from './mutate.js'

const INCOMPAT = 'incompat'
/** Below `W/work`. */
export const VOLATILE_MARK = `${INCOMPAT}/volatile`

/** Throws FsError EUCLEAN when the machine went down since `W/work` (its fd) was marked. `path` is W, for the message. */
export function refuseLostVolatile(work: number, path: string): void {
  const fd = openat(work, VOLATILE_MARK, O.RDONLY | O.DIRECTORY)
  if (fd < 0) return
  let sameBoot = false as boolean
  listdir(fd, name => {
    if (name === bootId()) sameBoot = true
  })
  close(fd)
  if (!sameBoot) throw new FsError(E.EUCLEAN, 'mount after a volatile one', path)
}

/** Marks `W/work` (its fd). The kernel's own mark may be there already. Throws FsError. */
export function markVolatile(work: number, path: string): void {
  for (const name of [INCOMPAT, VOLATILE_MARK, `${VOLATILE_MARK}/${bootId()}`]) {
    const r = mutate.mkdirat(work, name, 0o700)
    if (r < 0 && r !== -E.EEXIST) throw new FsError(r, 'mkdir', `${path}/work/${name}`)
  }
}

function bootId(): string {
  const buffer = Buffer.alloc(64)
  const fd = openat(AT.FDCWD, '/proc/sys/kernel/random/boot_id', O.RDONLY)
  if (fd < 0) return 'unknown'
  const n = pread(fd, buffer, 0)
  close(fd)
  return n <= 0 ? 'unknown' : buffer.latin1Slice(0, n).trim()
}
