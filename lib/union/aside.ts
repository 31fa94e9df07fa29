/**
 * Owns attributes kept aside, in `W/aside`: symlinks, FIFOs, sockets and device nodes carry no `user.` attributes (xattr(7)),
 * so where `trusted.` ones are not allowed, what the union must know of such an upper inode (its origin, its owner) is kept
 * by an empty file beside. The kernel's overlayfs does not look there.
 * Format: the file is called as the inode's number, in decimal; its attributes are those the inode could not take, and
 * `user.lamina.birth`, the inode's birth time.
 * Invariant: a file whose birth time is another's speaks of an inode that is gone, and counts for nothing.
 */
import { E } from '../errno.js'
import { O, S } from '../sys/constants.js'
import { close, openat } from '../sys/file.js'
import type { Stat } from '../sys/stat.js'
import { getxattrat } from '../sys/xattr.js'
import { mutate } from './mutate.js'

const BIRTH = 'user.lamina.birth'
const NAME = 'aside'

/** Whether an inode of this type must have its `user.` attributes aside. */
export function keptAside(mode: number): boolean {
  const type = mode & S.IFMT
  return type !== S.IFREG && type !== S.IFDIR
}

export class Aside {
  readonly #workFd: number
  #fd: number

  /** `workFd`: the work directory W. */
  constructor(workFd: number) {
    this.#workFd = workFd
    this.#fd = openat(workFd, NAME, O.PATH | O.DIRECTORY | O.NOFOLLOW)
  }

  /** Keeps an attribute of the upper inode whose stat is `st`. Returns 0 or `-errno`. */
  set(st: Stat, name: string, value: Buffer): number {
    let r = this.#fd >= 0 ? 0 : this.#make()
    if (r < 0) return r
    const file = String(st.ino)
    if (!this.#speaksOf(st)) {
      r = mutate.unlinkat(this.#fd, file)
      if (r < 0 && r !== -E.ENOENT) return r
      r = mutate.openat(this.#fd, file, O.CREAT | O.EXCL | O.WRONLY | O.NOFOLLOW, 0o600)
      if (r < 0) return r
      close(r)
      r = mutate.setxattrat(this.#fd, file, BIRTH, birthOf(st))
      if (r < 0) return r
    }
    return mutate.setxattrat(this.#fd, file, name, value)
  }

  /** What is kept of the upper inode whose stat is `st`, or `-ENODATA`. */
  get(st: Stat, name: string): Buffer | number {
    return this.#speaksOf(st) ? getxattrat(this.#fd, String(st.ino), name) : -E.ENODATA
  }

  /** The inode is gone. */
  forget(ino: number): void {
    if (this.#fd >= 0) mutate.unlinkat(this.#fd, String(ino))
  }

  close(): void {
    if (this.#fd >= 0) close(this.#fd)
  }

  #speaksOf(st: Stat): boolean {
    if (this.#fd < 0) return false
    const birth = getxattrat(this.#fd, String(st.ino), BIRTH)
    return typeof birth !== 'number' && birth.equals(birthOf(st))
  }

  #make(): number {
    const r = mutate.mkdirat(this.#workFd, NAME, 0o700)
    if (r < 0 && r !== -E.EEXIST) return r
    this.#fd = openat(this.#workFd, NAME, O.PATH | O.DIRECTORY | O.NOFOLLOW)
    return Math.min(this.#fd, 0)
  }
}

function birthOf(st: Stat): Buffer {
  return Buffer.from(`${st.btime}.${st.btimeNs}`)
}
