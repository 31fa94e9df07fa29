/**
 * Owns what a layer must hold to turn one tree into another: `eachLayerEntry`, the sequence that commit, build and
 * `diff --tar` write as a tar.
 * Order: byte order of paths, so a directory comes before what is in it, and the same trees give the same sequence.
 * Hard links: the first name in that order carries the data, later names point at it. Names that did not change
 * themselves, but share an inode with one that did, are in the sequence: the link would break without them.
 * Renames are always expanded (a layer tar has no redirects), an opaque directory is told by whiteouts of what it hides.
 * Invariant: applying the sequence to `before` gives `after`, attributes and links included.
 */
import { type Attributes, byPath, type Change, inodeOf, isDirectory, isSymlink } from './change.js'
import { type CompareOptions, compareTrees } from './compare.js'
import type { Entry, MergedTree } from './merged.js'

export type LayerEntry =
  | { readonly type: 'whiteout'; readonly path: string }
  | { readonly type: 'link'; readonly path: string; readonly attributes: Attributes; readonly target: string }
  | {
      readonly type: 'node'
      readonly path: string
      readonly attributes: Attributes
      readonly xattrs: ReadonlyMap<string, Buffer>
      /** A symlink's target, else ''. */
      readonly target: string
      /** For `tree.open` and `tree.digest` of a regular file; valid during the call only. */
      readonly entry: Entry
    }

/**
 * Calls `each` for everything a layer on top of `before` must hold to give `after`. The root directory is in it when its
 * attributes changed. Returns the changes it came from. Throws FsError.
 */
export function eachLayerEntry(
  before: MergedTree,
  after: MergedTree,
  each: (entry: LayerEntry) => void,
  options: Pick<CompareOptions, 'within'> = {},
): Change[] {
  const sharedNames: { path: string; attributes: Attributes }[] = []
  const sameLink = (path: string, attributes: Attributes): void => void sharedNames.push({ path, attributes })
  const changes = compareTrees(before, after, { ...options, sameLink })
  const wanted: { path: string; attributes: Attributes | undefined; linkTo?: string | undefined }[] = changes.map(
    c => ({
      path: c.path,
      attributes: c.kind === 'removed' ? undefined : c.after,
      linkTo: c.kind === 'modified' ? c.linkTo : undefined,
    }),
  )
  const linked = new Set<string>()
  for (const { attributes } of wanted)
    if (attributes !== undefined && isLinked(attributes)) linked.add(inodeOf(attributes))
  for (const name of sharedNames) if (linked.has(inodeOf(name.attributes))) wanted.push(name)
  wanted.sort(byPath)

  const first = new Map<string, string>()
  for (const { path, attributes, linkTo } of wanted) {
    if (attributes === undefined) {
      each({ type: 'whiteout', path })
      continue
    }
    if (isLinked(attributes)) {
      const inode = inodeOf(attributes)
      const target = first.get(inode)
      if (target !== undefined) {
        each({ type: 'link', path, attributes, target })
        continue
      }
      first.set(inode, path)
    }
    const entry = after.resolve(linkTo ?? path)
    if (entry === undefined) continue
    try {
      const target = isSymlink(attributes) ? after.readlink(entry) : ''
      each({ type: 'node', path, attributes, xattrs: after.xattrs(entry), target, entry })
    } finally {
      after.release(entry)
    }
  }
  return changes
}

function isLinked(a: Attributes): boolean {
  return a.nlink > 1 && !isDirectory(a)
}
