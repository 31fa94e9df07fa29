/**
 * Owns proving that a tree was not touched: a digest over everything below some paths that a change would move.
 * Counted are names, types, modes, owners, sizes, device numbers, modification times, *change times* (which nobody can set
 * back), link targets and the contents of regular files. Access times are left out: reading moves them.
 */
import { createHash, type Hash } from 'node:crypto'
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type BigIntStats } from 'node:fs'

export interface Fingerprint {
  readonly digest: string
  readonly entries: number
  readonly bytes: number
}

/** Reads everything below `paths` (a path that is missing counts as such), staying on the filesystem of each. */
export function fingerprint(paths: readonly string[]): Fingerprint {
  const state = { hash: createHash('sha256'), entries: 0, bytes: 0, buffer: Buffer.alloc(1 << 18) }
  for (const path of paths) visit(Buffer.from(path), undefined, state)
  return { digest: state.hash.digest('hex'), entries: state.entries, bytes: state.bytes }
}

interface State {
  readonly hash: Hash
  readonly buffer: Buffer
  entries: number
  bytes: number
}

function visit(path: Buffer, device: bigint | undefined, state: State): void {
  const st = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  state.hash.update(path).update(line(st))
  if (st === undefined) return
  state.entries++
  if (st.isSymbolicLink()) state.hash.update(readlinkSync(path, 'buffer'))
  else if (st.isFile()) content(path, state)
  else if (st.isDirectory() && (device === undefined || st.dev === device))
    for (const name of readdirSync(path, { encoding: 'buffer' }).sort((a, b) => a.compare(b)))
      visit(Buffer.concat([path, Buffer.from('/'), name]), st.dev, state)
}

function line(st: BigIntStats | undefined): string {
  if (st === undefined) return '\0missing\n'
  return `\0${st.mode} ${st.uid} ${st.gid} ${st.size} ${st.rdev} ${st.ino} ${st.mtimeNs} ${st.ctimeNs}\n`
}

function content(path: Buffer, state: State): void {
  const fd = openSync(path, 'r')
  try {
    for (let n = readSync(fd, state.buffer); n > 0; n = readSync(fd, state.buffer)) {
      state.hash.update(state.buffer.subarray(0, n))
      state.bytes += n
    }
  } finally {
    closeSync(fd)
  }
}
