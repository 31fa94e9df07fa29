/**
 * Owns what a layer's names mean where a layer below has a symlink on the way: a tar that has `lib/x` and no `lib` lies on
 * an image whose `lib` leads to `usr/lib`; extracted, it gives `usr/lib/x`. A layer's index says `lib/x` below an implicit
 * `lib`; the settled one says `usr/lib/x`. Only implicit directories move: one that the layer describes replaces the symlink.
 * Symlinks are followed by the rules of parents.ts. Hard links to names of lower layers are settled likewise.
 * Invariant: applied to the tree that it was settled for, a settled layer never makes a directory of what is none.
 */
import { textOf } from '../bytes.js'
import { DT } from '../sys/constants.js'
import { RESERVED } from './erofs-format.js'
import { FlattenError } from './flatten-error.js'
import type { IndexedLayer } from './indexed.js'
import type { LayerNode } from './layer.js'
import { resolveParents, type Step } from './parents.js'
import { readLayerTree } from './read-tree.js'
import { passThrough, type TreeInode } from './tree.js'

/** Whether `layer` has to be settled before it is applied to `base`. Costs a listing of its directories. */
export function isUnsettled(base: TreeInode, layer: IndexedLayer): boolean {
  const state = { found: false }
  const walk: [LayerNode, TreeInode | undefined][] = [[layer.root, base]]
  for (let next = walk.pop(); next !== undefined && !state.found; next = walk.pop()) {
    const [node, below] = next
    const r = layer.list(node, (name, type, child) => {
      if (type === DT.REG) {
        const outer = layer.overlayXattr(child, 'link')
        if (outer !== undefined && throughSymlink(base, outer.latin1Slice())) state.found = true
      }
      if (type !== DT.DIR) return
      const there = below?.children?.get(name)
      const opaque = layer.isOpaque(child)
      const implicit = layer.overlayXattr(child, 'implicit') !== undefined
      if (implicit && there !== undefined && !there.isDirectory) state.found = true
      walk.push([child, !opaque && there?.isDirectory === true ? there : undefined])
    })
    if (r < 0) throw new FlattenError('INDEX_DAMAGED', `apply layer: index is damaged (errno ${-r})`)
  }
  return state.found
}

/** The tree of `layer` as it is to be applied to `base`. Throws FlattenError LAYER_PARENT, INDEX_DAMAGED. */
export function settle(base: TreeInode, layer: IndexedLayer): TreeInode {
  const settling = new Settling(base, readLayerTree(layer))
  settling.run()
  return settling.root
}

/** A place in base and layer together: what either has there. */
interface Place {
  readonly own: TreeInode | undefined
  readonly below: TreeInode | undefined
}

interface Task {
  readonly dir: TreeInode
  readonly parts: readonly string[]
  readonly below: TreeInode | undefined
  readonly names: readonly string[]
}

class Settling {
  readonly root: TreeInode
  readonly #base: TreeInode
  readonly #tasks: Task[] = []

  constructor(base: TreeInode, root: TreeInode) {
    this.#base = base
    this.root = root
  }

  run(): void {
    this.#visit(this.root, [], this.#start.below)
    for (let task = this.#tasks.pop(); task !== undefined; task = this.#tasks.pop()) {
      for (const name of task.names) {
        const child = task.dir.children?.get(name)
        if (child === undefined) continue
        if (child.outerLink !== '') child.outerLink = this.#outerLink(child.outerLink)
        if (!child.isDirectory) continue
        const there = task.below?.children?.get(name)
        const parts = [...task.parts, name]
        if (child.implicit && there !== undefined && !there.isDirectory) {
          task.dir.children?.delete(name)
          this.#move(child, parts)
        } else this.#visit(child, parts, visibleBelow(child, there))
      }
    }
  }

  get #start(): Place {
    return { own: this.root, below: this.root.opaque ? undefined : this.#base }
  }

  #visit(dir: TreeInode, parts: readonly string[], below: TreeInode | undefined, names?: readonly string[]): void {
    this.#tasks.push({ dir, parts, below, names: names ?? [...(dir.children?.keys() ?? [])] })
  }

  /** Puts what `moved` has into the directory that its path really leads to. */
  #move(moved: TreeInode, from: readonly string[]): void {
    const path = textOf(`/${from.join('/')}`)
    const resolved = resolveParents(from, this.#start, stepMerged)
    if ('problem' in resolved) throw new FlattenError('LAYER_PARENT', `apply layer: ${path}: ${resolved.problem}`)
    if (resolved.parts[0] === RESERVED)
      throw new FlattenError('LAYER_PARENT', `apply layer: ${path} leads to ${RESERVED}, which is reserved`)
    let place = this.#start
    for (const part of resolved.parts) {
      const own = passThrough(place.own as TreeInode, part)
      place = { own, below: visibleBelow(own, place.below?.children?.get(part)) }
    }
    const into = place.own as TreeInode
    if (moved.opaque) into.opaque = true
    const names = [...(moved.children?.keys() ?? [])]
    merge(moved, into)
    this.#visit(into, resolved.parts, into.opaque ? undefined : place.below, names)
  }

  #outerLink(path: string): string {
    const parts = path.split('/').filter(part => part !== '')
    const last = parts.pop() as string
    const resolved = resolveParents(parts, { own: undefined, below: this.#base }, stepMerged)
    if ('problem' in resolved)
      throw new FlattenError('LAYER_PARENT', `apply layer: hard link to ${textOf(path)}: ${resolved.problem}`)
    return `/${[...resolved.parts, last].join('/')}`
  }
}

/** What of `there` shows below the layer's directory `own`. */
function visibleBelow(own: TreeInode, there: TreeInode | undefined): TreeInode | undefined {
  return !own.opaque && there?.isDirectory === true ? there : undefined
}

function stepMerged(at: Place, name: string): Step<Place> {
  const own = at.own?.children?.get(name)
  const there = at.below?.children?.get(name)
  if (own?.isWhiteout === true) return { kind: 'directory', cursor: { own: undefined, below: undefined } }
  // An implicit directory says nothing of what it is.
  const seen = own === undefined || (own.implicit && there !== undefined) ? there : own
  if (seen === undefined) return { kind: 'directory', cursor: { own, below: undefined } }
  if (seen.isSymlink) return { kind: 'symlink', target: seen.target }
  if (!seen.isDirectory) return { kind: 'other' }
  return { kind: 'directory', cursor: { own, below: own === undefined ? there : visibleBelow(own, there) } }
}

/** Adds the names of `from` to `into`; what `into` has under its own name stays. */
function merge(from: TreeInode, into: TreeInode): void {
  for (const [name, child] of from.children ?? []) {
    const present = into.children?.get(name)
    if (present === undefined) into.children?.set(name, child)
    else if (present.isDirectory && child.isDirectory) {
      if (present.implicit && !child.implicit) {
        merge(present, child)
        into.children?.set(name, child)
      } else merge(child, present)
    }
  }
}

/** Whether a directory on the way to `path` is a symlink. */
function throughSymlink(root: TreeInode, path: string): boolean {
  let at: TreeInode | undefined = root
  const parts = path.split('/').filter(part => part !== '')
  for (const part of parts.slice(0, -1)) {
    at = at?.children?.get(part)
    if (at?.isSymlink === true) return true
  }
  return false
}
