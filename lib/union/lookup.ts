/**
 * Owns the merge of names: which object of which layer a name in a directory means.
 * - Topmost wins. A whiteout ends the search, and so does anything that is no directory. Directories of the same name
 *   merge down to the first opaque one, or to the first thing that is none.
 * - A redirect (of an upper or a lower directory) says under which name, or path from the roots, the layers below have it.
 * Results are nodes, or `-errno` as numbers. Invariant: looking up changes no disk.
 */
import { E } from '../errno.js'
import { type Layer, type LayerNode } from '../layer/layer.js'
import { isDeviceWhiteout, isMark, MARK } from '../layer/whiteout.js'
import { S } from '../sys/constants.js'
import { statat, type Stat } from '../sys/stat.js'
import { listxattrat } from '../sys/xattr.js'
import { keptAside } from './aside.js'
import { statNode } from './attributes.js'
import { isUpperWhiteout, readDirectoryMarks, readMark, text, validRedirect } from './marks.js'
import { knownListing, worthListing } from './list.js'
import { NOWHERE, UPPER } from './listing.js'
import { DirKind, Directory, extraOf, type LowerRef, type Node, Presence } from './node.js'
import { lookupIndexed } from './hard-links.js'
import { parseProtection, setProtection } from './protect.js'
import type { Tree } from './tree.js'
import { directoryFd } from './upper.js'

const NO_LOWERS: readonly LowerRef[] = []

/** Bytes of a name, as on every filesystem that can be an upper. Newer kernels let longer ones through (seen on Linux 6.18). */
export const NAME_MAX = 255

/** The node of `name` in directory `parent`, its attributes in `st`. Adds no lookup count: `tree.collect` what is not kept. */
export function lookup(tree: Tree, parent: Node, name: string, st: Stat): Node | number {
  const dir = parent.dir
  if (dir === null) return -E.ENOTDIR
  const known = dir.children?.get(name)
  if (known !== undefined) {
    const r = statNode(tree, known, st)
    return r < 0 ? r : known
  }
  if (name.length > NAME_MAX) return -E.ENAMETOOLONG
  if (isMark(name)) return -E.ENOENT
  if (parent.parent === null && parent !== tree.root) return -E.ENOENT
  const listing = knownListing(tree, parent)
  if (listing !== null) {
    const at = listing.place(name)
    return at === NOWHERE ? -E.ENOENT : lookupAt(tree, parent, name, at, st)
  }
  const node = search(tree, parent, name, st)
  // In a directory with one part, finding a name took one call, as it would with all names known.
  if (node === -E.ENOENT || (dir.kind === DirKind.Merged && typeof node !== 'number' && node.upper === Presence.None))
    worthListing(tree, parent)
  return node
}

/** `lookup` of a name that the directory's listing has, at `at`, and that is no known child: one part is asked. */
export function lookupAt(tree: Tree, parent: Node, name: string, at: number, st: Stat): Node | number {
  if (at !== UPPER) return lookupLower(tree, parent, name, at, st)
  const fd = directoryFd(tree, parent)
  if (fd < 0) return fd
  const r = statat(fd, name, st)
  return r < 0 ? r : foundUpper(tree, parent, fd, name, st)
}

/** Asks one part of the merge after the other. */
function search(tree: Tree, parent: Node, name: string, st: Stat): Node | number {
  const dir = parent.dir
  if (dir === null) return -E.ENOTDIR
  if (dir.kind !== DirKind.Lower) {
    const fd = directoryFd(tree, parent)
    if (fd < 0) return fd
    const r = statat(fd, name, st)
    if (r === 0) return foundUpper(tree, parent, fd, name, st)
    if (r !== -E.ENOENT) return r
    if (dir.kind === DirKind.Pure || hasMark(fd, name, st)) return -E.ENOENT
  }
  return lookupLower(tree, parent, name, 0, st)
}

/** Whether a `.wh.NAME` stands beside. */
export function hasMark(fd: number, name: string, st: Stat): boolean {
  return name.length <= NAME_MAX - MARK.length && statat(fd, MARK + name, st) === 0
}

function foundUpper(tree: Tree, parent: Node, fd: number, name: string, st: Stat): Node | number {
  if (isUpperWhiteout(parent, fd, name, st)) return -E.ENOENT
  const type = st.mode & S.IFMT
  if (type === S.IFDIR) return foundUpperDirectory(tree, parent, fd, name, st)
  return foundUpperFile(tree, parent, fd, name, type, st)
}

function foundUpperFile(tree: Tree, parent: Node, fd: number, name: string, type: number, st: Stat): Node | number {
  let ino = tree.inodes.of(st.dev, st.ino)
  let presence: Presence = Presence.Full
  let redirect: string | null = null
  let protect = st.attributes
  if (parent.dir?.impure === true) {
    const names = listxattrat(fd, name)
    if (typeof names !== 'number' && names.length > 0) {
      for (const xattr of names) {
        if (xattr.endsWith('overlay.origin') || xattr.endsWith('overlay.lamina')) ino = originOf(tree, fd, name, ino)
        else if (xattr.endsWith('overlay.metacopy')) presence = Presence.Meta
        else if (xattr.endsWith('overlay.protattr'))
          protect |= parseProtection(text(readMark(tree, fd, name, 'protattr') ?? 0))
        else if (xattr.endsWith('overlay.redirect'))
          redirect = validRedirect(text(readMark(tree, fd, name, 'redirect') ?? 0))
      }
    } else if (keptAside(type) && (tree.work?.aside ?? null) !== null) ino = originOf(tree, fd, name, ino)
  }
  const indexed = st.nlink > 1 && type !== S.IFDIR
  // A file that had several names may be down to this one.
  if (indexed || tree.linked.size > 0) {
    const same = tree.linked.get(ino)
    if (same !== undefined && same.upper !== Presence.None && same.type === type) {
      tree.addName(same, parent, name)
      const r = statNode(tree, same, st)
      return r < 0 ? r : same
    }
  }
  let layer = -1
  let lower: LayerNode = 0
  if (presence === Presence.Meta && type === S.IFREG) {
    const data = findData(tree, parent, name, redirect, st)
    // Without its data the file cannot be served: the kernel says EIO too.
    if (data === null) return -E.EIO
    layer = data.layer
    lower = data.node
  } else presence = Presence.Full
  const node = tree.make(parent, name, ino, type, presence, layer, lower)
  setProtection(node, protect)
  if (indexed) {
    tree.linked.set(ino, node)
    lookupIndexed(tree, node, fd, name)
  }
  const r = statNode(tree, node, st)
  return r < 0 ? r : node
}

/** The number shown for what `name` was copied up from, `own` where that is not known. */
function originOf(tree: Tree, fd: number, name: string, own: number): number {
  const handle = readMark(tree, fd, name, 'origin')
  const number = handle === undefined ? readMark(tree, fd, name, 'lamina') : undefined
  const origin =
    handle !== undefined ? tree.origins.decode(handle) : number !== undefined ? tree.origins.decodeOwn(number) : -1
  return origin > 0 ? origin : own
}

/** The lower regular file that holds a metacopy's data. */
function findData(tree: Tree, parent: Node, name: string, redirect: string | null, st: Stat): LowerRef | null {
  const stack = collect(tree, parent, redirect ?? name, st, S.IFREG)
  const data = stack[0]
  if (data === undefined) return null
  for (let i = 1; i < stack.length; i++) {
    const ref = stack[i]
    if (ref !== undefined) tree.layer(ref.layer).release(ref.node)
  }
  return data
}

function foundUpperDirectory(tree: Tree, parent: Node, fd: number, name: string, st: Stat): Node | number {
  const upperIno = tree.inodes.of(st.dev, st.ino)
  const node = tree.make(parent, name, upperIno, S.IFDIR, Presence.Full, -1, 0)
  const own = directoryFd(tree, node)
  if (own < 0) {
    node.dir = new Directory(DirKind.Pure, NO_LOWERS)
    tree.collect(node)
    return own
  }
  const marks = readDirectoryMarks(own, tree.st2)
  setProtection(node, st.attributes | marks.protect)
  let lowers = NO_LOWERS
  const absolute = marks.redirect?.startsWith('/') === true
  if (!marks.opaque && (absolute || (parent.dir?.kind !== DirKind.Pure && !hasMark(fd, name, tree.st2)))) {
    lowers = collect(tree, parent, marks.redirect ?? name, st, S.IFDIR)
  }
  const dir = new Directory(lowers.length === 0 ? DirKind.Pure : DirKind.Merged, lowers)
  dir.redirect = marks.redirect
  dir.impure = marks.impure
  dir.xattrWhiteouts = marks.xattrWhiteouts
  node.dir = dir
  const top = lowers[0]
  if (top !== undefined) {
    const ino = tree.lowerIno(top.layer, top.node)
    if (ino > 0) node.ino = ino
  }
  const r = statNode(tree, node, st)
  if (r < 0) tree.collect(node)
  return r < 0 ? r : node
}

/** Asks the lowers of a directory from index `first` on. */
function lookupLower(tree: Tree, parent: Node, name: string, first: number, st: Stat): Node | number {
  const lowers = parent.dir?.lowers ?? NO_LOWERS
  for (let i = first; i < lowers.length; i++) {
    const ref = lowers[i] as LowerRef
    const layer = tree.layer(ref.layer)
    const found = layer.lookup(ref.node, name, st)
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
  if (type === S.IFREG && st.blocks <= META_BLOCKS && st.size > 0 && layer < tree.layers.length - 1) {
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
function collect(tree: Tree, parent: Node, where: string, st: Stat, type: number): readonly LowerRef[] {
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
