/**
 * Owns telling what mounts leave in a container's upper from what was done in it: mountpoints that the image did not have
 * (`/etc/hostname`, `/data` of `-v x:/data`), and directories that were copied up only to hold them.
 * Invariant: only what is empty, and was not there below, is taken for a trace; what is in a mountpoint was put there.
 */
import type { Layer, LayerNode } from '../layer/layer.js'
import { S } from '../sys/constants.js'
import { Stat } from '../sys/stat.js'
import { childPath } from './change.js'
import { MergedTree } from './merged.js'

const st = new Stat()

/** Paths of `upper` that are traces of mounts at `mountpoints` (absolute byte strings) over `lowers` (topmost first). */
export function tracesOf(upper: Layer, lowers: readonly Layer[], mountpoints: readonly string[]): Set<string> {
  const below = new MergedTree(lowers)
  const wanted = new Set<string>()
  for (const path of mountpoints)
    for (let at = path; at.length > 1; at = at.slice(0, at.lastIndexOf('/'))) wanted.add(at)
  const depth = (path: string): number => path.split('/').length
  const traces = new Set<string>()
  for (const path of [...wanted].sort((a, b) => depth(b) - depth(a)))
    if (isTrace(upper, below, path, traces)) traces.add(path)
  return traces
}

function isTrace(upper: Layer, below: MergedTree, path: string, traces: ReadonlySet<string>): boolean {
  const node = find(upper, path)
  if (node === undefined) return false
  try {
    const { mode, size, uid, gid } = st
    const type = mode & S.IFMT
    const lower = below.resolve(path)
    if (lower !== undefined) below.release(lower)
    if (type === S.IFREG) return size === 0 && lower === undefined
    if (type !== S.IFDIR) return false
    let names = 0
    const r = upper.list(node, name => {
      names += traces.has(childPath(path, name)) ? 0 : 1
    })
    if (r < 0 || names > 0) return false
    if (lower === undefined) return true
    const { attributes } = lower
    // Copied up to hold a mountpoint, and nothing else.
    const holds = [...traces].some(trace => trace.startsWith(`${path}/`))
    return (
      holds && !upper.isOpaque(node) && attributes.mode === mode && attributes.uid === uid && attributes.gid === gid
    )
  } finally {
    upper.release(node)
  }
}

/** The node at `path` in one layer, its Stat in `st`; links are not followed. */
function find(layer: Layer, path: string): LayerNode | undefined {
  let node = layer.root
  for (const name of path.split('/').filter(Boolean)) {
    const next = layer.lookup(node, name, st)
    if (node !== layer.root) layer.release(node)
    if (next < 0) return undefined
    node = next
  }
  return node
}
