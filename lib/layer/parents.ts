/**
 * Owns where a name's parent directory really is when symlinks are on the way: `resolveParents`, as umoci and Docker
 * extract a tar entry `lib/x` where `lib` is a symlink. The tree is asked through a cursor, so that one layer being read and
 * layers on top of each other resolve by the same rules.
 * Invariant: resolution never leaves the tree: an absolute target starts at its root, `..` at the root stays there. It
 * ends: after 255 symlinks it is a loop.
 */

/** What a cursor has under a name. `unknown`: the layers below may have something there that is not known here. */
export type Step<C> =
  | { readonly kind: 'directory'; readonly cursor: C; readonly unknown?: boolean }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'other' }

export type Resolved =
  | { readonly parts: readonly string[] }
  /** One line: what stands in the way, and at which component. */
  | { readonly problem: string }

/** As many as umoci follows; the kernel stops at 40. */
const MAX_SYMLINKS = 255
/** PATH_MAX less the NUL, NAME_MAX: what the kernel could ever be asked for. */
export const MAX_PATH = 4095
export const MAX_NAME = 255

/**
 * The components of the directory that `parts` (no `.`, `..` or empty ones) lead to from `root`, free of symlinks. Names
 * that `step` calls a directory need not exist.
 */
export function resolveParents<C>(parts: readonly string[], root: C, step: (at: C, name: string) => Step<C>): Resolved {
  // `by` counts the symlink whose target a component stands in; 0 is the name itself.
  const pending = parts.map(name => ({ name, by: 0 })).reverse()
  const path: { name: string; by: number; unknown: boolean }[] = []
  const cursors = [root]
  let symlinks = 0
  let length = 0
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { name, by } = next
    if (name === '' || name === '.') continue
    if (name === '..') {
      const last = path.pop()
      if (last === undefined) continue
      // What `name/..` means depends on what `name` is below: a guess could put the file in a wrong place.
      if (last.unknown && last.by === by)
        return { problem: `its parent leads through ${last.name}/.., and ${last.name} is not in this layer` }
      cursors.pop()
      length -= last.name.length + 1
      continue
    }
    const found = step(cursors.at(-1) as C, name)
    if (found.kind === 'other') return { problem: `its parent ${name} is no directory` }
    if (found.kind === 'symlink') {
      if (++symlinks > MAX_SYMLINKS) return { problem: `its parent ${name} is a symlink that leads nowhere (a loop)` }
      if (found.target.startsWith('/')) {
        path.length = length = 0
        cursors.length = 1
      }
      for (const part of found.target.split('/').reverse()) pending.push({ name: part, by: symlinks })
      continue
    }
    length += name.length + 1
    if (name.length > MAX_NAME || length > MAX_PATH) return { problem: 'its parent is a symlink to a name too long' }
    path.push({ name, by, unknown: found.unknown === true })
    cursors.push(found.cursor)
  }
  return { parts: path.map(p => p.name) }
}
