/**
 * Owns the lowers' part of the merge: what a name of a directory means below the upper, and the stack of directories that is
 * one directory there. Where redirects lead, and metacopies to their data, is found here.
 */
import { E } from '../errno.js'
import { type Layer, type LayerNode } from '../layer/layer.js'
import { isDeviceWhiteout } from '../layer/whiteout.js'
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'
import { statNode } from './attributes.js'
import { lookupIndexed } from './hard-links.js'
import { text, validRedirect } from './marks.js'
import { DirKind, Directory, extraOf, type LowerRef, type Node, Presence } from './node.js'
import { setProtection } from './protect.js'
import type { Tree } from './tree.js'

export const NO_LOWERS: readonly LowerRef[] = []

/**
 * Asks the lowers of a directory from index `first` on. `shown`: the inode number that a listing tells of the name there, or 0;
 * with it an index need not look for the name again.
 */
export function lookupLower(
  tree: Tree,
  parent: Node,
  name: string,
  first: number,
  st: Stat,
  shown: number = 0,
): Node | number {
  const lowers = parent.dir?.lowers ?? NO_LOWERS
  for (let i = first; i < lowers.length; i++) {
    const ref = lowers[i] as LowerRef
    const layer = tree.layer(ref.layer)
    const found = findIn(tree, layer, ref.node, name, st, i === first ? shown : 0)
    if (found === -E.ENOENT || found === -E.ENOTDIR) continue
    if (found < 0) return found
    const type = st.mode & S.IFMT
    if (type === S.IFCHR && isDeviceWhiteout(st)) {
      layer.release(found)
      return -E.ENOENT
    }
    if (type === S.IFDIR) return lowerDirectory(tree, parent, name, ref.layer, found, i, st)
    return lowerFile(tree, parent, name, ref.layer, found, type, st)
  }
  return -E.ENOENT
}

/** `lookup` of a layer; one that lists bytes need not look for a name of which the number that is shown is known (`shown`, or 0). */
export function findIn(tree: Tree, layer: Layer, dir: LayerNode, name: string, st: Stat, shown: number): LayerNode {
  const own = shown > 0 && layer.listBytes !== undefined ? tree.inodes.below(layer.fsid, shown) : -1
  if (own < 0) return layer.lookup(dir, name, st)
  const r = layer.stat(own, st)
  return r < 0 ? r : own
}

function lowerFile(
  tree: Tree,
  parent: Node,
  name: string,
  layer: number,
  found: LayerNode,
  type: number,
  st: Stat,
): Node | number {
  const ino = tree.inoIn(layer, st)
  let data = found
  let dataLayer = layer
  const multi = st.nlink > 1
  if (multi) {
    const same = tree.linked.get(ino)
    if (same !== undefined) {
      if (same.layer >= 0) tree.layer(layer).release(found)
      else {
        same.layer = layer
        same.lower = found
      }
      tree.addName(same, parent, name)
      const r = statNode(tree, same, st)
      return r < 0 ? r : same
    }
  }
  // A metacopy in a lower layer has no blocks of its own: its data is further down.
  const l = tree.layer(layer)
  if (mayBeMetacopy(tree, layer, st)) {
    if (l.overlayXattr(found, 'metacopy') !== undefined) {
      const redirect = validRedirect(text(l.overlayXattr(found, 'redirect') ?? 0))
      const below = dataBelow(tree, parent, name, redirect, layer)
      if (below === null) {
        l.release(found)
        return -E.EIO
      }
      data = below.node
      dataLayer = below.layer
    }
  }
  const node = tree.make(parent, name, ino, type, Presence.None, dataLayer, data)
  setProtection(node, st.attributes)
  if (data !== found || dataLayer !== layer) {
    // Attributes are the metacopy's, data the other's.
    const extra = extraOf(node)
    extra.face = { layer, node: found }
  }
  if (multi) {
    tree.linked.set(ino, node)
    if (tree.upperFd >= 0) lookupIndexed(tree, node, -1, name)
    const r = statNode(tree, node, st)
    return r < 0 ? r : node
  }
  st.ino = ino
  return node
}

/** A file with more blocks than this (512-byte units: one block of attributes and then some) has data of its own. */
const META_BLOCKS = 16

/** Whether a lower file with attributes `st` may be a metacopy: its data would be further down. */
export function mayBeMetacopy(tree: Tree, layer: number, st: Stat): boolean {
  const file = (st.mode & S.IFMT) === S.IFREG
  return file && st.blocks <= META_BLOCKS && st.size > 0 && layer < tree.layers.length - 1
}

function dataBelow(tree: Tree, parent: Node, name: string, redirect: string | null, above: number): LowerRef | null {
  const stack = collect(tree, parent, redirect ?? name, tree.st2, S.IFREG)
  let result: LowerRef | null = null
  for (const ref of stack) {
    if (result === null && ref.layer > above) result = ref
    else tree.layer(ref.layer).release(ref.node)
  }
  return result
}

function lowerDirectory(
  tree: Tree,
  parent: Node,
  name: string,
  layer: number,
  found: LayerNode,
  at: number,
  st: Stat,
): Node {
  const ino = tree.inoIn(layer, st)
  const protect = st.attributes
  const lowers: LowerRef[] = [{ layer, node: found }]
  const from = parent.dir?.lowers ?? NO_LOWERS
  const l = tree.layer(layer)
  if (layer < tree.layers.length - 1 && !l.isOpaque(found)) {
    const redirect = redirectOf(l, found)
    if (redirect === null) mergeBelow(tree, from, at + 1, name, lowers)
    else if (redirect.startsWith('/')) walk(tree, redirect, layer + 1, lowers, S.IFDIR)
    else mergeBelow(tree, from, at + 1, redirect, lowers)
  }
  const node = tree.make(parent, name, ino, S.IFDIR, Presence.None, -1, 0)
  node.dir = new Directory(DirKind.Lower, lowers)
  setProtection(node, protect)
  if (lowers.length === 1) st.ino = ino
  else statNode(tree, node, st)
  return node
}

/** Adds the directories called `name` of a parent's lowers from index `at` on, until something ends the merge. */
function mergeBelow(tree: Tree, from: readonly LowerRef[], at: number, name: string, into: LowerRef[]): void {
  const st = tree.st2
  let called = name
  for (let i = at; i < from.length; i++) {
    const ref = from[i] as LowerRef
    const layer = tree.layer(ref.layer)
    const found = layer.lookup(ref.node, called, st)
    if (found < 0) continue
    if ((st.mode & S.IFMT) !== S.IFDIR) {
      layer.release(found)
      return
    }
    into.push({ layer: ref.layer, node: found })
    if (i === from.length - 1 || layer.isOpaque(found)) return
    const redirect = redirectOf(layer, found)
    if (redirect === null) continue
    if (redirect.startsWith('/')) {
      walk(tree, redirect, ref.layer + 1, into, S.IFDIR)
      return
    }
    called = redirect
  }
}

/** The stack of objects below the upper that `where` (an absolute path, or a name in `parent`) leads to. */
export function collect(tree: Tree, parent: Node, where: string, st: Stat, type: number): readonly LowerRef[] {
  const into: LowerRef[] = []
  if (where.startsWith('/')) walk(tree, where, 0, into, type)
  else if (type === S.IFDIR) mergeBelow(tree, parent.dir?.lowers ?? NO_LOWERS, 0, where, into)
  else filesBelow(tree, parent.dir?.lowers ?? NO_LOWERS, where, st, into)
  return into
}

/** The regular files called `name`, topmost first, metacopies passed over. */
function filesBelow(tree: Tree, from: readonly LowerRef[], name: string, st: Stat, into: LowerRef[]): void {
  let called = name
  for (const ref of from) {
    const layer = tree.layer(ref.layer)
    const found = layer.lookup(ref.node, called, st)
    if (found < 0) continue
    if ((st.mode & S.IFMT) !== S.IFREG) {
      layer.release(found)
      return
    }
    if (layer.overlayXattr(found, 'metacopy') === undefined) {
      into.push({ layer: ref.layer, node: found })
      return
    }
    const redirect = validRedirect(text(layer.overlayXattr(found, 'redirect') ?? 0))
    layer.release(found)
    if (redirect?.startsWith('/') === true) {
      walk(tree, redirect, ref.layer + 1, into, S.IFREG)
      return
    }
    called = redirect ?? called
  }
}

/** Follows an absolute path in every layer from `first` on; a layer's own redirects rewrite it for those below. */
function walk(tree: Tree, path: string, first: number, into: LowerRef[], type: number): void {
  let parts = path.split('/').filter(part => part !== '')
  const st = tree.st2
  for (let i = first; i < tree.layers.length; i++) {
    const layer = tree.layer(i)
    let node = layer.root
    let next = parts
    let last = false
    let missing = false
    for (let k = 0; k < parts.length; k++) {
      const found = layer.lookup(node, parts[k] ?? '', st)
      if (node !== layer.root) layer.release(node)
      if (found < 0) {
        missing = true
        break
      }
      node = found
      const end = k === parts.length - 1
      const is = st.mode & S.IFMT
      if (is !== (end ? type : S.IFDIR)) {
        layer.release(node)
        return
      }
      if (is === S.IFDIR && layer.isOpaque(node)) last = true
      const redirect = is === S.IFDIR ? redirectOf(layer, node) : fileRedirect(layer, node)
      if (redirect !== null) {
        const head = redirect.startsWith('/') ? [] : next.slice(0, next.length - (parts.length - k))
        next = [...head, ...redirect.split('/').filter(part => part !== ''), ...parts.slice(k + 1)]
      }
    }
    if (!missing) {
      if (type === S.IFREG && layer.overlayXattr(node, 'metacopy') !== undefined) layer.release(node)
      else {
        into.push({ layer: i, node })
        if (type === S.IFREG) return
      }
    }
    if (last) return
    parts = next
  }
}

function redirectOf(layer: Layer, dir: LayerNode): string | null {
  const value = layer.overlayXattr(dir, 'redirect')
  return value === undefined ? null : validRedirect(text(value))
}

function fileRedirect(layer: Layer, file: LayerNode): string | null {
  return layer.overlayXattr(file, 'metacopy') === undefined ? null : redirectOf(layer, file)
}
