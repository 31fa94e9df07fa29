/**
 * Owns layers -> one tree: reads an index back into a `TreeInode` tree and applies further layers on it, by the OCI image
 * specification's rules (layer.md, "Applying Changesets").
 * Layers come base first here (the union's order is topmost first).
 * A layer whose names lead through symlinks of what lies below has to be settled first (settle.ts).
 * Invariant: the result has no marks of a layer left: no whiteout, opaque, implicit or outer link.
 */
import { textOf } from '../bytes.js'
import { DT, S } from '../sys/constants.js'
import { FlattenError } from './flatten-error.js'
import type { IndexedLayer } from './indexed.js'
import { DT_WHT, type LayerNode } from './layer.js'
import { readAttributes } from './read-tree.js'
import { TreeInode } from './tree.js'

const MAX_DEPTH = 4096

/** The tree of `layers` applied in order, base first. Throws FlattenError. */
export function flatten(layers: readonly IndexedLayer[]): TreeInode {
  const root = new TreeInode(S.IFDIR | 0o755)
  for (const layer of layers) applyLayer(root, layer)
  return root
}

/** Changes `root` by one layer: what a container sees of it when the layer lies on top. */
export function applyLayer(root: TreeInode, layer: IndexedLayer): void {
  new Application(root, layer).run()
}

class Application {
  readonly #root: TreeInode
  readonly #layer: IndexedLayer
  /** Inodes of this layer with several names. */
  readonly #linked = new Map<LayerNode, TreeInode>()
  /** Names that whiteouts hide: removed at the end, so that an outer link can still take what they hide. */
  readonly #hidden: [TreeInode, string][] = []

  constructor(root: TreeInode, layer: IndexedLayer) {
    this.#root = root
    this.#layer = layer
  }

  run(): void {
    const layer = this.#layer
    if (layer.overlayXattr(layer.root, 'implicit') === undefined) readAttributes(layer, layer.root, this.#root)
    if (layer.isOpaque(layer.root)) this.#root.children?.clear()
    this.#directory(this.#root, layer.root, 0)
    for (const [dir, name] of this.#hidden) dir.children?.delete(name)
  }

  #directory(into: TreeInode, node: LayerNode, depth: number): void {
    if (depth > MAX_DEPTH) throw new FlattenError('INDEX_DAMAGED', 'apply layer: directories nest without end')
    const layer = this.#layer
    const children = into.children as Map<string, TreeInode>
    const subdirectories: [TreeInode, LayerNode][] = []
    const r = layer.list(node, (name, type, child) => {
      if (type === DT_WHT) {
        if (children.has(name)) this.#hidden.push([into, name])
      } else if (type === DT.DIR) {
        let dir = children.get(name)
        if (dir?.isDirectory !== true || layer.isOpaque(child)) {
          dir = new TreeInode(S.IFDIR | 0o755)
          children.set(name, dir)
          readAttributes(layer, child, dir)
        } else if (layer.overlayXattr(child, 'implicit') === undefined) readAttributes(layer, child, dir)
        subdirectories.push([dir, child])
      } else children.set(name, this.#inode(child))
    })
    if (r < 0) throw new FlattenError('INDEX_DAMAGED', `apply layer: index is damaged (errno ${-r})`)
    for (const [dir, child] of subdirectories) this.#directory(dir, child, depth + 1)
  }

  #inode(node: LayerNode): TreeInode {
    const known = this.#linked.get(node)
    if (known !== undefined) return known
    const image = this.#layer.image
    if (image.load(node) < 0) throw new FlattenError('INDEX_DAMAGED', 'apply layer: index is damaged')
    const several = image.nlink > 1
    let inode: TreeInode
    const outer = this.#layer.overlayXattr(node, 'link')
    if (outer !== undefined) inode = this.#outer(outer.latin1Slice())
    else {
      inode = new TreeInode(image.mode)
      readAttributes(this.#layer, node, inode)
    }
    if (several) this.#linked.set(node, inode)
    return inode
  }

  #outer(path: string): TreeInode {
    let found: TreeInode | undefined = this.#root
    for (const part of path.split('/')) if (part !== '') found = found?.children?.get(part)
    if (found === undefined || found.isDirectory)
      throw new FlattenError('LAYER_LINK', `apply layer: hard link to ${textOf(path)}, which no lower layer has`)
    return found
  }
}
