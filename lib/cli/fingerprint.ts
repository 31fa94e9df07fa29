/**
 * Owns proving that a tree was not touched: a line for everything below some paths that a change would move, and a digest
 * over the lines. A line has type and mode, owner, size, device number, inode, modification time, *change time* (which
 * nobody can set back), a link's target and a regular file's content. Access times are left out: reading moves them.
 */
import { createHash } from 'node:crypto'
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync, type BigIntStats } from 'node:fs'

export interface Fingerprint {
  readonly digest: string
  readonly entries: number
  readonly bytes: number
}

/** What to look at. */
export interface Look {
  /** Whether contents are read; without, the change time alone speaks for them. */
  readonly contents: (path: string) => boolean
  /** Paths (with all below) that are left out. */
  readonly without: ReadonlySet<string>
}

export const EVERYTHING: Look = { contents: () => true, without: new Set() }

/** One line for each thing, told by its path (bytes as latin1). */
export type Line = (path: string, line: string, bytes: number) => void

/** Digest of all lines below `paths` (a path that is missing counts as such), staying on the filesystem of each. */
export function fingerprint(paths: readonly string[]): Fingerprint {
  const hash = createHash('sha256')
  let entries = 0
  let bytes = 0
  look(paths, EVERYTHING, (path, line, size) => {
    hash.update(path, 'latin1').update(`\0${line}\n`, 'latin1')
    if (line !== MISSING) entries++
    bytes += size
  })
  return { digest: hash.digest('hex'), entries, bytes }
}

const MISSING = 'missing'

/** Hands the line of everything below `paths` to `each`, in the order of names. */
export function look(paths: readonly string[], how: Look, each: Line): void {
  const buffer = Buffer.alloc(1 << 18)
  const visit = (path: string, device: bigint | undefined): void => {
    if (how.without.has(path)) return
    const bytes = Buffer.from(path, 'latin1')
    const st = lstatSync(bytes, { bigint: true, throwIfNoEntry: false })
    if (st === undefined) return each(path, MISSING, 0)
    const read = st.isFile() && how.contents(path)
    const what = st.isSymbolicLink() ? readlinkSync(bytes, 'latin1') : read ? content(bytes, buffer) : ''
    each(path, `${attributes(st)} ${what}`, read ? Number(st.size) : 0)
    if (!st.isDirectory() || (device !== undefined && st.dev !== device)) return
    for (const name of readdirSync(bytes, 'latin1').sort()) visit(path === '/' ? `/${name}` : `${path}/${name}`, st.dev)
  }
  for (const path of paths) visit(Buffer.from(path).toString('latin1'), undefined)
}

function attributes(st: BigIntStats): string {
  return `${st.mode.toString(8)} ${st.uid} ${st.gid} ${st.size} ${st.rdev} ${st.ino} ${st.mtimeNs} ${st.ctimeNs}`
}

function content(path: Buffer, buffer: Buffer): string {
  const hash = createHash('sha256')
  const fd = openSync(path, 'r')
  try {
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) hash.update(buffer.subarray(0, n))
  } finally {
    closeSync(fd)
  }
  return hash.digest('hex')
}
