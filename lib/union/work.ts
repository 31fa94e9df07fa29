/**
 * Owns the work directory W, laid out as overlayfs lays it out: `W/work` holds what is under way (copies, new objects,
 * what was moved out to be removed), `W/index` the hard-link index, `W/work/incompat/volatile` the mark of a volatile mount.
 * - One server per work directory: flock(2) on W.
 * - Everything in `W/work` is nameless to users: it is swept at the start, so a crash leaves nothing behind.
 * - Names in `W/work` are `#` and a hexadecimal count, as the kernel's.
 */
import { E, FsError } from '../errno.js'
import { AT, DT, LOCK, O, S } from '../sys/constants.js'
import { listdir } from '../sys/dir.js'
import { close, flock, openat } from '../sys/file.js'
import { statat, Stat } from '../sys/stat.js'
import { Aside } from './aside.js'
import { mutate } from './mutate.js'
import { markVolatile, refuseLostVolatile } from './volatile.js'

/** How whiteouts are written: what the upper's filesystem allows. */
export type WhiteoutForm = 'device' | 'xattr' | 'mark'

/** In W: renamed directories and metadata copies are marked by `user.` attributes, which only the union follows. */
export const REDIRECTS = 'redirects'

/** The name of the shared whiteout inode, linked wherever one is needed. */
const WHITEOUT = '#whiteout'

export class Work {
  /** O_PATH fd of `W/work`. */
  readonly fd: number
  /** O_PATH fd of `W/index`, -1 where there is none. */
  readonly indexFd: number
  readonly dev: number
  readonly xattrPrefix: 'trusted.overlay.' | 'user.overlay.'
  readonly whiteoutForm: WhiteoutForm
  /** Files can be given to others. Where not, owners are kept in attributes (lib/layer/override.ts). */
  readonly owners: boolean
  /** O_TMPFILE files can be made in the upper's filesystem. */
  readonly tmpfile: boolean

  /** Where attributes are kept that an inode cannot take; null where all take `trusted.` ones. */
  readonly aside: Aside | null

  readonly #lock: number
  #count = 0
  #whiteout = false
  readonly #volatile: boolean

  /** Throws FsError as `createUnion` says. `xattrs` undefined tries `trusted`, then `user`. */
  constructor(path: string, xattrs: 'trusted' | 'user' | undefined, volatile: boolean) {
    const st = new Stat()
    this.#volatile = volatile
    this.#lock = lockWork(path)
    try {
      this.fd = ensureDirectory(this.#lock, 'work', path)
      const r = statat(this.fd, '', st, AT.EMPTY_PATH)
      if (r < 0) throw new FsError(r, 'stat', path)
      this.dev = st.dev
      refuseLostVolatile(this.fd, path)
      const swept = removeInside(this.fd)
      if (swept < 0) throw new FsError(swept, 'sweep', `${path}/work`)
      this.indexFd = ensureDirectory(this.#lock, 'index', path)
      this.xattrPrefix = this.#probeXattrs(xattrs, path)
      this.aside = this.xattrPrefix === 'user.overlay.' ? new Aside(this.#lock) : null
      this.whiteoutForm = this.#probeWhiteout()
      this.tmpfile = this.#probeTmpfile()
      this.owners = this.#probeOwners()
      if (volatile) markVolatile(this.fd, path)
    } catch (error) {
      close(this.#lock)
      throw error
    }
  }

  /** A fresh name in `fd`. */
  name(): string {
    return `#${(++this.#count).toString(16)}`
  }

  /** Puts a whiteout under a fresh name in `fd` and leaves the name in `at`. Device form only. Returns 0 or `-errno`. */
  makeWhiteout(name: string): number {
    if (this.#whiteout) {
      const r = mutate.linkat(this.fd, WHITEOUT, this.fd, name)
      if (r !== -E.EMLINK && r !== -E.ENOENT) return r
    }
    return mutate.mknodat(this.fd, name, S.IFCHR, 0)
  }

  /** Links the shared whiteout to a free name in an upper directory. */
  linkWhiteout(dirfd: number, name: string): number {
    if (!this.#whiteout) this.#whiteout = mutate.mknodat(this.fd, WHITEOUT, S.IFCHR, 0) >= 0
    const r = mutate.linkat(this.fd, WHITEOUT, dirfd, name)
    if (r !== -E.EMLINK && r !== -E.ENOENT) return r
    // The inode's link count is full: a new one takes its place.
    if (mutate.unlinkat(this.fd, WHITEOUT) >= 0) this.#whiteout = mutate.mknodat(this.fd, WHITEOUT, S.IFCHR, 0) >= 0
    return mutate.mknodat(dirfd, name, S.IFCHR, 0)
  }

  /** Removes `name` in `fd`, whatever it is; '' is nothing. Best effort: what stays is swept by the next mount. */
  discard(name: string): void {
    if (name !== '' && mutate.unlinkat(this.fd, name) < 0) removeTree(this.fd, name)
  }

  /** Notes on disk that the upper may hold what the kernel does not follow in `user.` attributes. */
  noteRedirects(): void {
    mutate.mkdirat(this.#lock, REDIRECTS, 0o700)
  }

  /** Everything written so far is on disk afterwards. */
  sync(): void {
    mutate.syncfs(this.#lock)
  }

  /** Leaves the directory clean (but for a volatile mount's mark, which only a sync could make untrue) and unlocked. */
  close(): void {
    if (!this.#volatile) removeInside(this.fd)
    this.aside?.close()
    close(this.fd)
    if (this.indexFd >= 0) close(this.indexFd)
    close(this.#lock)
  }

  #probeXattrs(wanted: 'trusted' | 'user' | undefined, path: string): 'trusted.overlay.' | 'user.overlay.' {
    let r = -E.EOPNOTSUPP
    for (const namespace of wanted === undefined ? (['trusted', 'user'] as const) : ([wanted] as const)) {
      const prefix = `${namespace}.overlay.` as const
      r = mutate.setxattrat(this.fd, '', `${prefix}opaque`, Buffer.from('0'))
      if (r >= 0) {
        mutate.removexattrat(this.fd, '', `${prefix}opaque`)
        return prefix
      }
    }
    throw new FsError(r, 'setxattr', path)
  }

  #probeWhiteout(): WhiteoutForm {
    const r = mutate.mknodat(this.fd, WHITEOUT, S.IFCHR, 0)
    this.#whiteout = r >= 0
    return r >= 0 ? 'device' : 'xattr'
  }

  /** Giving a file to id 1 works for root and in a namespace with a range of ids, not where there is only one's own. */
  #probeOwners(): boolean {
    const name = this.name()
    if (mutate.mknodat(this.fd, name, S.IFREG | 0o600, 0) < 0) return true
    const r = mutate.chownat(this.fd, name, 1, 1)
    mutate.unlinkat(this.fd, name)
    return r >= 0
  }

  #probeTmpfile(): boolean {
    const fd = mutate.openat(this.fd, '.', O.TMPFILE | O.WRONLY, 0o600)
    if (fd < 0) return false
    close(fd)
    return true
  }
}

/** The fd of the work directory `path`, locked for as long as it is open. Throws FsError, EBUSY when somebody has it. */
export function lockWork(path: string): number {
  const fd = openat(AT.FDCWD, path, O.RDONLY | O.DIRECTORY)
  if (fd < 0) throw new FsError(fd, 'open', path)
  const locked = flock(fd, LOCK.EX | LOCK.NB)
  if (locked >= 0) return fd
  close(fd)
  throw new FsError(locked === -E.EAGAIN ? -E.EBUSY : locked, 'flock', path)
}

function ensureDirectory(dirfd: number, name: string, path: string): number {
  const made = mutate.mkdirat(dirfd, name, 0o700)
  if (made < 0 && made !== -E.EEXIST) throw new FsError(made, 'mkdir', `${path}/${name}`)
  const fd = openat(dirfd, name, O.PATH | O.DIRECTORY | O.NOFOLLOW)
  if (fd < 0) throw new FsError(fd, 'open', `${path}/${name}`)
  return fd
}

/** Removes everything inside the directory `fd` (O_PATH will do). Returns 0 or the first `-errno`. */
export function removeInside(fd: number): number {
  const open = openat(fd, '.', O.RDONLY | O.DIRECTORY)
  if (open < 0) return open
  const names: string[] = []
  const types: number[] = []
  let r = listdir(open, (name, type) => {
    names.push(name)
    types.push(type)
  })
  for (let i = 0; i < names.length && r >= 0; i++) {
    const name = names[i] ?? ''
    r = types[i] === DT.DIR ? -E.EISDIR : mutate.unlinkat(open, name)
    if (r === -E.EISDIR) r = removeTree(open, name)
  }
  close(open)
  return r
}

/** Removes the directory `name` below `dirfd` with all it holds. */
export function removeTree(dirfd: number, name: string): number {
  const r = mutate.rmdirat(dirfd, name)
  if (r !== -E.ENOTEMPTY && r !== -E.EEXIST) return r
  const fd = openat(dirfd, name, O.PATH | O.DIRECTORY | O.NOFOLLOW)
  if (fd < 0) return fd
  const inside = removeInside(fd)
  close(fd)
  return inside < 0 ? inside : mutate.rmdirat(dirfd, name)
}
