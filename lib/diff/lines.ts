/**
 * Owns Docker's form of a list of changes: one `A`, `C` or `D` and a path per line.
 * As `docker diff` does: `/` is never listed; the directory that gained or lost a name is listed as changed; of a
 * removed directory only the top is; the order is byte order of paths.
 */
import { type Change, parentPath } from './change.js'

export interface Line {
  readonly kind: 'A' | 'C' | 'D'
  /** Absolute byte string. */
  readonly path: string
}

/** Changes → lines. A rename is an addition there and a removal here. */
export function dockerLines(changes: readonly Change[]): Line[] {
  const lines = new Map<string, Line['kind']>()
  const put = (path: string, kind: Line['kind']): void => {
    if (path === '/') return
    lines.set(path, kind)
    if (kind !== 'C') {
      const parent = parentPath(path)
      if (parent !== '/' && !lines.has(parent)) lines.set(parent, 'C')
    }
  }
  for (const change of changes) {
    if (change.kind === 'added') put(change.path, 'A')
    else if (change.kind === 'removed') put(change.path, 'D')
    else if (change.kind === 'renamed') {
      put(change.path, 'A')
      put(change.from, 'D')
    } else put(change.path, 'C')
  }
  return [...lines].map(([path, kind]) => ({ path, kind })).sort((a, b) => (a.path < b.path ? -1 : 1))
}
