/**
 * Owns where the lowers have what was renamed. overlayfs's rule: a directory or metacopy that moved carries a redirect: its
 * old name if it stayed in its directory, else its old path from the layers' roots. A path is built by going up: each
 * ancestor gives its own redirect if it has one, else its name; an absolute redirect ends the way.
 */
import type { Node } from './node.js'

/** The path, from the lowers' roots, of what the lowers have for this node; null when a part of it has no lower. */
export function lowerPath(node: Node): string | null {
  let path = ''
  let n: Node | null = node as Node | null
  for (; n !== null; n = n.parent) {
    const redirect: string | null = n.dir?.redirect ?? null
    const part: string = redirect ?? n.name
    if (part.startsWith('/')) return part + path
    if (n.parent === null) return path === '' ? '/' : path
    path = `/${part}${path}`
  }
  return null
}
