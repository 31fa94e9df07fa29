/**
 * Owns `diff --stat`: changes → sums by directory. Bytes are data bytes of regular files; a removed directory counts all
 * that was in it, which is the one case where the tree before is walked.
 * Invariant: the sums of all rows are the sums of all changes, whatever the depth.
 */
import { type Attributes, type Change, isDirectory, isRegular } from './change.js'
import type { MergedTree } from './merged.js'

export interface DirectoryStat {
  /** Absolute byte string. */
  readonly directory: string
  /** Files (all but directories). */
  added: number
  changed: number
  removed: number
  /** Bytes that came and went; a file whose content changed counts on both sides. */
  addedBytes: number
  removedBytes: number
}

/** Sums by directory, `depth` components deep (1: `/usr`), sorted by bytes moved, largest first. Throws FsError. */
export function statByDirectory(changes: readonly Change[], before: MergedTree, depth: number): DirectoryStat[] {
  const rows = new Map<string, DirectoryStat>()
  const row = (path: string): DirectoryStat => {
    const names = path.split('/').slice(1, -1)
    const directory = `/${names.slice(0, depth).join('/')}`
    let found = rows.get(directory)
    if (found === undefined) {
      found = { directory, added: 0, changed: 0, removed: 0, addedBytes: 0, removedBytes: 0 }
      rows.set(directory, found)
    }
    return found
  }
  const gone = (path: string, a: Attributes): void => {
    const r = row(path)
    r.removed++
    r.removedBytes += bytesOf(a)
  }
  const below = (path: string): void => {
    const entry = before.resolve(path)
    if (entry === undefined) return
    try {
      before.walk(entry, e => void (isDirectory(e.attributes) || gone(e.path, e.attributes)))
    } finally {
      before.release(entry)
    }
  }
  for (const change of changes) {
    const { path } = change
    if (change.kind === 'removed') {
      if (isDirectory(change.before)) below(path)
      else gone(path, change.before)
    } else if (change.kind === 'added') {
      if (isDirectory(change.after)) continue
      const r = row(path)
      r.added++
      r.addedBytes += bytesOf(change.after)
    } else {
      const wasDirectory = isDirectory(change.before)
      const isNow = isDirectory(change.after)
      if (wasDirectory && isNow) continue
      if (wasDirectory) below(path)
      const r = row(path)
      if (isNow) gone(path, change.before)
      else if (wasDirectory) r.added++
      else r.changed++
      if (!change.aspects.includes('content') && !change.aspects.includes('type')) continue
      if (!isNow) r.addedBytes += bytesOf(change.after)
      if (!wasDirectory && !isNow) r.removedBytes += bytesOf(change.before)
    }
  }
  const moved = (r: DirectoryStat): number => r.addedBytes + r.removedBytes
  return [...rows.values()].sort((a, b) => moved(b) - moved(a) || (a.directory < b.directory ? -1 : 1))
}

const bytesOf = (a: Attributes): number => (isRegular(a) ? a.size : 0)
