/**
 * Owns owner and mode kept beside a file: `user.containers.override_stat`, as containers/storage and fuse-overlayfs write it
 * where files cannot have their real owner (a user namespace with a single id, or none); older versions of the latter call
 * it `user.fuseoverlayfs.override_stat`.
 * Format: `UID:GID:MODE`, decimal, decimal, octal (with the type's bits or without); further fields are ignored.
 * Invariant: a value that does not read so changes nothing.
 */
import type { Stat } from '../sys/stat.js'

/** Puts the owner and mode that `value` tells into `st`. */
export function applyOverride(st: Stat, value: Buffer | number): void {
  if (typeof value === 'number') return
  const match = /^(\d+):(\d+):([0-7]+)(?::|$)/.exec(value.latin1Slice())
  if (match === null) return
  st.uid = Number(match[1])
  st.gid = Number(match[2])
  st.mode = (st.mode & 0o170000) | (parseInt(match[3] as string, 8) & 0o7777)
}

/** The value that keeps what `st` says. */
export function overrideOf(st: Stat): Buffer {
  return Buffer.from(`${st.uid}:${st.gid}:${(st.mode & 0o7777).toString(8).padStart(4, '0')}`)
}
