/**
 * Owns showing other owners than the layers have: ranges of ids shifted (`--uid-map`), or all squashed to one
 * (`--squash-to-uid`). Needed where the layers' ids mean nothing to the mount's user namespace: a user with a single id could
 * not write to the files of anybody else.
 * Ids inside POSIX ACLs are passed as they are.
 * Invariant: `shown` and `stored` undo each other on mapped ids; an unmapped stored id shows as the overflow id 65534.
 */
import type { Stat } from '../sys/stat.js'
import type { Caller } from './filesystem.js'

/** `count` ids from `stored` in the layers are shown as those from `shown`. */
export interface IdRange {
  readonly shown: number
  readonly stored: number
  readonly count: number
}

export interface IdMapOptions {
  readonly uids?: readonly IdRange[]
  readonly gids?: readonly IdRange[]
  /** Everything belongs to this one; giving a file away then succeeds and changes nothing. */
  readonly squashToUid?: number
  readonly squashToGid?: number
}

const OVERFLOW = 65534

export class IdMap {
  readonly #uids: readonly IdRange[] | undefined
  readonly #gids: readonly IdRange[] | undefined
  readonly #squashUid: number
  readonly #squashGid: number
  readonly #caller: Caller = { uid: 0, gid: 0, pid: 0, umask: 0, supplementaryGid: -1 }

  constructor(options: IdMapOptions) {
    this.#uids = options.uids
    this.#gids = options.gids
    this.#squashUid = options.squashToUid ?? -1
    this.#squashGid = options.squashToGid ?? -1
  }

  /** Replaces the layers' owner in `st` by the one shown. */
  show(st: Stat): void {
    st.uid = this.#squashUid >= 0 ? this.#squashUid : shown(this.#uids, st.uid)
    st.gid = this.#squashGid >= 0 ? this.#squashGid : shown(this.#gids, st.gid)
  }

  /** The uid to store for `uid`: -1 leaves the owner as it is (squashed), -2 when there is none. */
  storedUid(uid: number): number {
    return this.#squashUid >= 0 ? -1 : stored(this.#uids, uid)
  }

  storedGid(gid: number): number {
    return this.#squashGid >= 0 ? -1 : stored(this.#gids, gid)
  }

  /** The caller as the layers know it: whoever it is makes files as this process, when squashed. Overwritten by each call. */
  caller(caller: Caller): Caller {
    const mapped = this.#caller
    mapped.uid = this.#squashUid >= 0 ? (process.geteuid?.() ?? 0) : someone(stored(this.#uids, caller.uid))
    mapped.gid = this.#squashGid >= 0 ? (process.getegid?.() ?? 0) : someone(stored(this.#gids, caller.gid))
    mapped.pid = caller.pid
    mapped.umask = caller.umask
    return mapped
  }
}

/** A caller whom the layers do not know makes files as nobody. */
function someone(id: number): number {
  return id < 0 ? OVERFLOW : id
}

function shown(ranges: readonly IdRange[] | undefined, id: number): number {
  if (ranges === undefined) return id
  for (const r of ranges) if (id >= r.stored && id < r.stored + r.count) return id - r.stored + r.shown
  return OVERFLOW
}

function stored(ranges: readonly IdRange[] | undefined, id: number): number {
  if (ranges === undefined) return id
  for (const r of ranges) if (id >= r.shown && id < r.shown + r.count) return id - r.shown + r.stored
  return -2
}
