/**
 * Owns attributes that were asked for before anybody wanted them (ahead.ts), of entries that have no node: a lower's, so they
 * stay true. A ring of the entries that come next in a listing.
 */
import type { Stat } from '../sys/stat.js'

/** Numbers of an entry: what a listing tells of a file. */
const FIELDS = 15

export class Foreseen {
  readonly #entries: Int32Array
  readonly #values: Float64Array

  /** `room`: so many neighbouring entries are remembered at once. */
  constructor(room: number) {
    this.#entries = new Int32Array(room).fill(-1)
    this.#values = new Float64Array(FIELDS * room)
  }

  put(entry: number, st: Stat): void {
    const place = entry % this.#entries.length
    this.#entries[place] = entry
    const values = this.#values
    let at = FIELDS * place
    values[at++] = st.mode
    values[at++] = st.nlink
    values[at++] = st.uid
    values[at++] = st.gid
    values[at++] = st.ino
    values[at++] = st.size
    values[at++] = st.blocks
    values[at++] = st.blksize
    values[at++] = st.rdev
    values[at++] = st.atime
    values[at++] = st.atimeNs
    values[at++] = st.mtime
    values[at++] = st.mtimeNs
    values[at++] = st.ctime
    values[at] = st.ctimeNs
  }

  /** Fills `st`, its time of birth left out. False: nothing is remembered of the entry. */
  get(entry: number, st: Stat): boolean {
    const place = entry % this.#entries.length
    if (this.#entries[place] !== entry) return false
    const values = this.#values
    let at = FIELDS * place
    st.mode = values[at++] as number
    st.nlink = values[at++] as number
    st.uid = values[at++] as number
    st.gid = values[at++] as number
    st.ino = values[at++] as number
    st.size = values[at++] as number
    st.blocks = values[at++] as number
    st.blksize = values[at++] as number
    st.rdev = values[at++] as number
    st.atime = values[at++] as number
    st.atimeNs = values[at++] as number
    st.mtime = values[at++] as number
    st.mtimeNs = values[at++] as number
    st.ctime = values[at++] as number
    st.ctimeNs = values[at] as number
    st.attributes = 0
    return true
  }
}
