/**
 * Owns index -> `TreeInode`: one inode's attributes (`readAttributes`), and a layer's whole tree with its marks
 * (`readLayerTree`), which writeIndex turns into the same bytes again.
 */
import { DT, S } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import { EMPTY_SHA256 } from './erofs-format.js'
import { FlattenError } from './flatten-error.js'
import type { IndexedLayer } from './indexed.js'
import { DT_WHT, type LayerNode } from './layer.js'
import { TreeInode, whiteoutInode } from './tree.js'

const st = new Stat()

/** Gives `inode` what the layer says of `node`, its name and marks apart. Throws FlattenError INDEX_DAMAGED. */
export function readAttributes(layer: IndexedLayer, node: LayerNode, inode: TreeInode): void {
  if (layer.stat(node, st) < 0) throw damaged('inode')
  inode.mode = st.mode
  inode.uid = st.uid
  inode.gid = st.gid
  inode.mtime = st.mtime
  inode.mtimeNs = st.mtimeNs
  inode.rdev = st.rdev
  inode.size = inode.isDirectory ? 0 : st.size
  inode.xattrs = undefined
  const type = st.mode & S.IFMT
  if (type === S.IFREG) {
    const hex = layer.object(node)
    if (typeof hex === 'number') throw damaged('file without object')
    inode.object = hex === EMPTY_SHA256 ? '' : hex
  } else if (type === S.IFLNK) {
    const target = layer.readlink(node)
    if (typeof target === 'number') throw damaged('symlink without target')
    inode.target = target
  }
  const names = layer.listxattr(node)
  if (typeof names === 'number') throw damaged('xattrs')
  for (const name of names) {
    const value = layer.getxattr(node, name)
    if (typeof value !== 'number') (inode.xattrs ??= new Map<string, Buffer>()).set(name, value)
  }
}

/** The layer's tree, marks included. Throws FlattenError INDEX_DAMAGED. */
export function readLayerTree(layer: IndexedLayer): TreeInode {
  const linked = new Map<LayerNode, TreeInode>()
  const root = directory(layer, layer.root)
  const walk: [TreeInode, LayerNode][] = [[root, layer.root]]
  for (let next = walk.pop(); next !== undefined; next = walk.pop()) {
    const [dir, node] = next
    const r = layer.list(node, (name, type, child) => {
      let inode = linked.get(child)
      if (inode === undefined) {
        if (type === DT_WHT) inode = whiteoutInode()
        else if (type === DT.DIR) {
          inode = directory(layer, child)
          walk.push([inode, child])
        } else inode = file(layer, child, linked)
      }
      dir.children?.set(name, inode)
    })
    if (r < 0) throw damaged('directory')
  }
  return root
}

function directory(layer: IndexedLayer, node: LayerNode): TreeInode {
  const inode = new TreeInode(S.IFDIR)
  readAttributes(layer, node, inode)
  inode.opaque = layer.isOpaque(node)
  inode.implicit = layer.overlayXattr(node, 'implicit') !== undefined
  return inode
}

function file(layer: IndexedLayer, node: LayerNode, linked: Map<LayerNode, TreeInode>): TreeInode {
  const { image } = layer
  if (image.load(node) < 0) throw damaged('inode')
  const inode = new TreeInode(image.mode)
  if (image.nlink > 1) linked.set(node, inode)
  const outer = layer.overlayXattr(node, 'link')
  if (outer === undefined) readAttributes(layer, node, inode)
  else inode.outerLink = outer.latin1Slice()
  return inode
}

function damaged(what: string): FlattenError {
  return new FlattenError('INDEX_DAMAGED', `read layer: its index is damaged (${what})`)
}
