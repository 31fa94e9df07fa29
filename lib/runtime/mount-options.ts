/**
 * Owns mount(8)'s option words: which are attributes of a mount, which its propagation, which the filesystem's own.
 * Format: `{ set, clear }` are MOUNT_ATTR bits for mount_setattr and fsmount; `flags` the same for mount(2).
 */
import { MOUNT_ATTR, MS } from '../sys/constants.js'

export interface MountOptions {
  set: number
  clear: number
  /** MS flags for mount(2). */
  flags: number
  bind: boolean
  recursive: boolean
  /** MS.PRIVATE … with MS.REC for the r-forms; 0 when nothing is said. */
  propagation: number
  /** What is left for the filesystem, in order: `mode=755`. */
  data: string[]
}

const attributes: Readonly<Record<string, readonly [set: number, clear: number, flag: number]>> = {
  ro: [MOUNT_ATTR.RDONLY, 0, MS.RDONLY],
  rw: [0, MOUNT_ATTR.RDONLY, 0],
  nosuid: [MOUNT_ATTR.NOSUID, 0, MS.NOSUID],
  suid: [0, MOUNT_ATTR.NOSUID, 0],
  nodev: [MOUNT_ATTR.NODEV, 0, MS.NODEV],
  dev: [0, MOUNT_ATTR.NODEV, 0],
  noexec: [MOUNT_ATTR.NOEXEC, 0, MS.NOEXEC],
  exec: [0, MOUNT_ATTR.NOEXEC, 0],
  noatime: [MOUNT_ATTR.NOATIME, MOUNT_ATTR.ATIME_MASK, MS.NOATIME],
  relatime: [0, MOUNT_ATTR.ATIME_MASK, MS.RELATIME],
  strictatime: [MOUNT_ATTR.STRICTATIME, MOUNT_ATTR.ATIME_MASK, MS.STRICTATIME],
  nosymfollow: [MOUNT_ATTR.NOSYMFOLLOW, 0, MS.NOSYMFOLLOW],
}

const propagations: Readonly<Record<string, number>> = {
  private: MS.PRIVATE,
  rprivate: MS.PRIVATE | MS.REC,
  slave: MS.SLAVE,
  rslave: MS.SLAVE | MS.REC,
  shared: MS.SHARED,
  rshared: MS.SHARED | MS.REC,
  unbindable: MS.UNBINDABLE,
  runbindable: MS.UNBINDABLE | MS.REC,
}

/** Whether a word is one of mount's own (not the filesystem's). */
export function isMountOption(word: string): boolean {
  return word in attributes || word in propagations || word === 'bind' || word === 'rbind'
}

export function readMountOptions(words: readonly string[]): MountOptions {
  const o: MountOptions = { set: 0, clear: 0, flags: 0, bind: false, recursive: false, propagation: 0, data: [] }
  for (const word of words) {
    const attribute = attributes[word]
    const propagation = propagations[word]
    if (attribute !== undefined) {
      o.set = (o.set & ~attribute[1]) | attribute[0]
      o.clear |= attribute[1] | (attribute[0] & MOUNT_ATTR.ATIME_MASK ? MOUNT_ATTR.ATIME_MASK : 0)
      o.flags |= attribute[2]
    } else if (propagation !== undefined) o.propagation = propagation
    else if (word === 'bind' || word === 'rbind') {
      o.bind = true
      o.recursive ||= word === 'rbind'
    } else if (word !== 'defaults') o.data.push(word)
  }
  return o
}
