/**
 * Owns the one thing that a copy-up cannot do at once: its rename moves the modification time of the directory it lands in, and
 * that is given back after it. Should the process end in between, the next mount gives it back.
 * - Before the rename, an attribute of `W/work` says which directory it is and what its time was. It stays there while copy-ups
 *   go on in that directory, which costs them nothing, and is removed before anything else changes its time.
 * - The kernel's overlayfs makes `W/work` anew at each mount, and the attribute goes with the old one: it never outlives a
 *   writer that does not know of it.
 * Invariant: as long as the attribute names a directory, the time in it is the one that directory has or is owed.
 */
import { E } from '../errno.js'
import { AT, O, S } from '../sys/constants.js'
import { close, dup, openat } from '../sys/file.js'
import { statat, Stat, UTIME_OMIT } from '../sys/stat.js'
import { getxattrat } from '../sys/xattr.js'
import { mutate } from './mutate.js'
import type { Node } from './node.js'
import { self } from './upper.js'
import type { Work } from './work.js'

/** An attribute is to fit beside others: what lies deeper is not noted. */
const PATH_LIMIT = 2000

export class OwedTimes {
  readonly #work: Work
  readonly #attribute: string
  /** The directory that the attribute names, by its number, which outlives its node. 0: none. */
  #ino = 0

  /** Gives back what an earlier process owed. `upperFd`: the upper's root. */
  constructor(work: Work, upperFd: number) {
    this.#work = work
    this.#attribute = `${work.xattrPrefix}times`
    const value = getxattrat(work.fd, '', this.#attribute)
    if (typeof value === 'number') return
    giveBack(value.latin1Slice(), upperFd)
    mutate.removexattrat(work.fd, '', this.#attribute)
  }

  /** Notes what `directory`, an upper directory with the attributes `st`, will be owed. Returns 0 or `-errno`. */
  owe(directory: Node, st: Stat): number {
    if (this.#ino === directory.ino) return 0
    const path = pathOf(directory)
    if (path.length > PATH_LIMIT) return this.clear()
    const value = `${st.ino} ${st.btime} ${st.btimeNs} ${st.mtime} ${st.mtimeNs} ${path}`
    const r = mutate.setxattrat(this.#work.fd, '', this.#attribute, Buffer.from(value, 'latin1'))
    if (r >= 0) this.#ino = directory.ino
    return Math.min(r, 0)
  }

  /** To be called before the time of `directory` changes, or where it is. Returns 0 or `-errno`. */
  settle(directory: Node): number {
    return this.#ino === directory.ino ? this.clear() : 0
  }

  /** Nothing is owed any more. Returns 0 or `-errno`. */
  clear(): number {
    if (this.#ino === 0) return 0
    const r = mutate.removexattrat(this.#work.fd, '', this.#attribute)
    if (r < 0 && r !== -E.ENODATA) return r
    this.#ino = 0
    return 0
  }
}

function pathOf(directory: Node): string {
  let path = ''
  for (let n = directory; n.parent !== null; n = n.parent) path = path === '' ? n.name : `${n.name}/${path}`
  return path
}

/** Does nothing when the directory is not there any more, or is another one. */
function giveBack(value: string, upperFd: number): void {
  const match = /^(\d+) (-?\d+) (\d+) (-?\d+) (\d+) (.*)$/s.exec(value)
  if (match === null) return
  const [ino, btime, btimeNs, mtime, mtimeNs] = match.slice(1, 6).map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ]
  let fd = dup(upperFd)
  for (const name of (match[6] ?? '').split('/')) {
    if (fd < 0 || name === '') break
    const next = openat(fd, name, O.PATH | O.DIRECTORY | O.NOFOLLOW)
    close(fd)
    fd = next
  }
  if (fd < 0) return
  const st = new Stat()
  const same = statat(fd, '', st, AT.EMPTY_PATH) >= 0 && st.ino === ino && st.btime === btime && st.btimeNs === btimeNs
  if (same && (st.mode & S.IFMT) === S.IFDIR) mutate.utimensat(AT.FDCWD, self(fd), 0, UTIME_OMIT, mtime, mtimeNs, 0)
  close(fd)
}
