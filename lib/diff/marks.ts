/**
 * Owns reading what a layer's index says of a tar that Stat cannot: directories that the tar never described, and hard
 * links to files that only layers below have. Both are overlay marks of an indexed layer; other layers have none.
 */
import type { Layer, LayerNode } from '../layer/layer.js'
import { S } from '../sys/constants.js'
import type { Stat } from '../sys/stat.js'

/** The layer has the directory only because of what is in it: its attributes are those of the layers below, if any. */
export function isImplicit(layer: Layer, node: LayerNode): boolean {
  return layer.overlayXattr(node, 'implicit') !== undefined
}

/** Path (byte string) in the layers below that this name is a hard link to; `st` is the node's own. */
export function outerLink(layer: Layer, node: LayerNode, st: Stat): string | undefined {
  if ((st.mode & S.IFMT) !== S.IFREG || st.size !== 0) return undefined
  return layer.overlayXattr(node, 'link')?.latin1Slice()
}
